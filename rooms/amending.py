"""Changing and removing what was published into a room, as long as its history holds it."""

from typing import Literal, Protocol
from uuid import UUID

from core.errors import HubError
from core.events.event import namespace_of
from rooms.amendments import Amendment
from rooms.live import Published
from rooms.live_store import Head, LiveStore
from rooms.live_wire import LiveEntry

PAGE = 256
Kept = Literal["kept", "overtaken", "gone", "too_much"]


class Publishes(Protocol):
    """What publishes into live rooms (rooms.live.LiveRooms)."""

    async def publish(self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str) -> Published:
        """Publish an event; raises HubError."""
        ...


class Amending:
    """Of all rooms of a node. Every method raises HubError SERVICE_UNAVAILABLE when Redis does not answer."""

    def __init__(self, store: LiveStore, rooms: Publishes) -> None:
        self._store = store
        self._rooms = rooms

    async def find(self, org_id: UUID, channel: str, id: UUID) -> tuple[Head, LiveEntry] | None:
        """Return where the room is and the event with this id as it is shown now; None where the history does not hold it."""
        head = f'{{"id":"{id}"'
        before: int | None = None
        while True:
            found = await self._store.read(org_id, channel, "before", before, limit=PAGE)
            for entry in found.entries:
                if entry.envelope.startswith(head):
                    return found.head, entry
            if len(found.entries) < PAGE:
                return None
            before = found.entries[0].position

    async def keep(self, org_id: UUID, channel: str, head: Head, entry: LiveEntry, amendment: Amendment) -> Kept:
        """Have the history show `entry`, as `find` has told it, with the amendment.

        `overtaken`: it is another by now, so it is to be found again.
        """
        told = amendment.told()
        rules = self._store.namespaces.rules_of(org_id, channel)
        if rules is None:
            raise HubError("CHANNEL_NOT_FOUND")
        if len(told) > rules.message_bytes:
            # Known before, so that nothing is changed of which the members cannot be told.
            raise HubError("PAYLOAD_TOO_LARGE", f"What tells of the change has at most {rules.message_bytes} bytes")
        envelope = amendment.envelope(entry.envelope)
        done = await self._store.amend(
            org_id, channel, head.epoch, entry.position, amendment.revision - 1, amendment.revision, envelope
        )
        outcomes: dict[int, Kept] = {1: "kept", 0: "overtaken", -1: "gone", -2: "too_much"}
        return outcomes[done]

    async def tell(self, org_id: UUID, channel: str, amendment: Amendment, source: str) -> Published:
        """Let the members hear of it."""
        type = f"{namespace_of(channel)}.{amendment.change}"
        return await self._rooms.publish(org_id, channel, type, amendment.told(), source=source)
