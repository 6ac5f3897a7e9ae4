"""What a reader of diffs knows, by the rules of docs/presence.md alone, and a node's hand on the store."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import orjson

from rooms.presence.page import PresencePage
from rooms.presence.store import Applied, Beat, Beaten, Changes, Gone, PresenceStore, Presentation, Reaped, text_of
from rooms.presence.wire import Diff, decode_diff

TIME = "2026-01-01T00:00:00.000000Z"


class Reader:
    """Folds diffs; a Receiver of pub/sub, and a PresenceSink. `gaps` counts diffs that do not go on from the last."""

    def __init__(self, channel: str = "chat:a") -> None:
        self.channel = channel
        self.members: dict[str, Mapping[str, Any]] = {}
        self.version: int | None = None
        self.epoch = ""
        self.count: Mapping[str, int] = {}
        self.gaps = 0
        self.diffs: list[Mapping[str, Any]] = []
        self.sizes: list[int] = []

    def receive(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            found = decode_diff(self.channel, payload)
            assert found is not None, payload
            self.take(found[1])

    def tell(self, org_id: UUID, channel: str, diffs: Sequence[Diff]) -> None:
        for diff in diffs:
            self.take(diff)

    def take(self, diff: Diff) -> None:
        told = orjson.loads(f"{{{diff.envelope}}}")
        self.sizes.append(len(diff.envelope))
        self.take_told(told, diff.position, diff.after, diff.epoch)

    def take_told(self, told: Mapping[str, Any], version: int, after: int, epoch: str) -> None:
        if self.version is not None and after != self.version:
            self.gaps += 1
        self.diffs.append(told)
        for member in (*told["joined"], *told["updated"]):
            self.members[member["subject"]] = member
        for member in told["left"]:
            self.members.pop(member["subject"], None)
        self.version, self.epoch, self.count = version, epoch, told["count"]

    @property
    def subjects(self) -> set[str]:
        return set(self.members)

    def told(self, what: str) -> list[str]:
        """All subjects that joined, left or were updated, in the order of the diffs."""
        return [member["subject"] for diff in self.diffs for member in diff[what]]


class Hand:
    """One node's incarnation in an organisation."""

    def __init__(self, store: PresenceStore, org_id: UUID, channel: str = "chat:a") -> None:
        self.store = store
        self.org_id = org_id
        self.channel = channel
        self.incarnation = str(uuid4())

    async def begin(self, lease: float = 60.0) -> Beaten:
        (found,) = await self.store.beat([Beat(self.org_id, self.incarnation, lease, is_first=True)])
        assert isinstance(found, Beaten), found
        return found

    async def beat(self, lease: float = 60.0) -> Beaten | Gone:
        (found,) = await self.store.beat([Beat(self.org_id, self.incarnation, lease, counts=True)])
        assert not isinstance(found, Exception), found
        return found

    async def reap(self) -> Reaped:
        """Beat, and remove who is dead, as a node does; one step."""
        found = await self.beat()
        assert isinstance(found, Beaten)
        return await self.store.remove(found.dead)

    async def change(self, *changes: tuple[str, Presentation | None]) -> Applied | Gone:
        (found,) = await self.store.apply([Changes(self.org_id, self.channel, self.incarnation, changes)])
        assert not isinstance(found, Exception), found
        return found

    async def enter(self, connection: str, subject: str, data: str = "", *, since: str = TIME) -> Applied | Gone:
        return await self.change((connection, Presentation(text_of(subject), since, data)))

    async def leave(self, *connections: str) -> Applied | Gone:
        return await self.change(*((connection, None) for connection in connections))

    async def die(self) -> None:
        """Let the lease end, as a kill does some seconds later."""
        (found,) = await self.store.beat([Beat(self.org_id, self.incarnation, 0.0)])
        assert isinstance(found, Beaten), found


async def all_members(
    store: PresenceStore, org_id: UUID, channel: str = "chat:a", *, limit: int = 500
) -> dict[str, Any]:
    """Read page after page, and return the members as clients see them."""
    found: dict[str, Any] = {}
    after: str | None = None
    while True:
        page = await store.page(org_id, channel, after, limit=limit)
        found |= shown(page)
        if page.next is None:
            return found
        after = page.next


def shown(page: PresencePage) -> dict[str, Any]:
    return {member["subject"]: member for member in orjson.loads(orjson.dumps(page.shown()))["members"]}
