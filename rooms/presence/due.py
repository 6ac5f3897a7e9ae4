"""Which rooms are to be sent now: those of organisations in turn, none of which goes again before it has rested."""

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Org = TypeVar("Org", bound=Hashable)
Room = TypeVar("Room", bound=Hashable)


class Due(Generic[Org, Room]):
    """Rooms by organisation, each once; a room is due until it is dropped. True while one is that does not rest."""

    def __init__(self) -> None:
        # Whose turn it is comes first. Whoever has nothing due is in the second only, while it rests.
        self._going: dict[Org, dict[Room, None]] = {}
        self._resting: dict[Org, dict[Room, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._going)

    def add(self, org: Org, room: Room) -> None:
        """Have a room sent, at the end of its organisation's where it is not due yet."""
        rooms = self._resting.get(org)
        if rooms is None:
            rooms = self._going.setdefault(org, {})
        rooms[room] = None

    def drop(self, org: Org, room: Room) -> None:
        """Have a room sent no more."""
        for some in (self._going, self._resting):
            if (rooms := some.get(org)) is not None:
                rooms.pop(room, None)
        if org in self._going and not self._going[org]:
            del self._going[org]

    def next(self, most: int) -> list[Room]:
        """Return at most so many rooms, one of each organisation in turn. They stay due."""
        found: list[Room] = []
        turns = deque(iter(rooms) for rooms in self._going.values())
        while turns and len(found) < most:
            rooms = turns.popleft()
            room = next(rooms, None)
            if room is not None:
                found.append(room)
                turns.append(rooms)
        return found

    def rest(self, orgs: Iterable[Org]) -> None:
        """Have nothing of these organisations go before they are woken."""
        for org in orgs:
            self._resting[org] = self._resting.get(org, {}) | self._going.pop(org, {})

    def wake(self, orgs: Iterable[Org]) -> None:
        """Let them go on, behind the others."""
        for org in orgs:
            if rooms := self._resting.pop(org, None):
                self._going[org] = rooms
