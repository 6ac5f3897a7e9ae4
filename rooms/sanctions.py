"""Who may not speak in a chat, or not be there, for how long: as a node knows it, by room and subject."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal
from uuid import UUID

from core.clock import rfc3339
from core.errors import HubError

Kind = Literal["mute", "ban"]
# What is held against somebody, by kind.
Held = Mapping[Kind, "Sanction"]
NONE: Mapping[str, Held] = MappingProxyType({})
# Called with the organisation and the subject whose sanctions have changed.
Hear = Callable[[UUID, str], None]


@dataclass(frozen=True, slots=True)
class Sanction:
    """`mute`: does not publish; `ban`: is not in the room at all. It ends at `until`; None: when it is lifted."""

    id: UUID
    org_id: UUID
    channel: str
    subject: str
    kind: Kind
    until: datetime | None

    def refusal(self) -> HubError:
        """Return what its subject is told."""
        what, code = ("banned from", "BANNED") if self.kind == "ban" else ("muted in", "MUTED")
        end = "" if self.until is None else f" until {rfc3339(self.until)}"
        return HubError(code, f"You are {what} {self.channel}{end}")


class Sanctions:
    """Those that hold now. Who keeps them up to date puts and drops them, at their end too (handlers/chats/keeping.py)."""

    def __init__(self) -> None:
        self._by_room: dict[tuple[UUID, str], dict[str, dict[Kind, Sanction]]] = {}
        self._all: dict[UUID, Sanction] = {}
        self._listeners: list[Hear] = []

    def of(self, org_id: UUID, channel: str) -> Mapping[str, Held]:
        """Return what is held in a room against whom, by subject."""
        return self._by_room.get((org_id, channel), NONE) if self._by_room else NONE

    def when_changed(self, hear: Hear) -> None:
        """Have `hear` called after each change, in the same turn of the loop."""
        self._listeners.append(hear)

    def put(self, sanction: Sanction) -> None:
        """Let a sanction hold from now on, in place of another of its kind against the subject in the room."""
        known = self._all.get(sanction.id)
        if known == sanction:
            return
        if known is not None:
            self._remove(known)
        room = self._by_room.setdefault((sanction.org_id, sanction.channel), {})
        before = room.setdefault(sanction.subject, {}).get(sanction.kind)
        if before is not None:
            self._all.pop(before.id, None)
        room[sanction.subject][sanction.kind] = self._all[sanction.id] = sanction
        self._tell(sanction)

    def drop(self, id: UUID) -> None:
        """Let a sanction hold no more, if it does."""
        known = self._all.get(id)
        if known is not None:
            self._remove(known)
            self._tell(known)

    def _remove(self, sanction: Sanction) -> None:
        del self._all[sanction.id]
        key = (sanction.org_id, sanction.channel)
        room = self._by_room[key]
        held = room[sanction.subject]
        del held[sanction.kind]
        if not held:
            del room[sanction.subject]
        if not room:
            del self._by_room[key]

    def _tell(self, sanction: Sanction) -> None:
        for hear in self._listeners:
            hear(sanction.org_id, sanction.subject)
