"""What a room's slow members have not had, the newest of each key only. No I/O.

Kept             what is behind whom
  KeptMembers    the keys are the members of a member of `data`: what is newest of them is given as one event
  KeptEvents     an event has one key, or none: the newest of each is given as it was published
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from core.events.event import Entry
from hub.stream.room import Member
from hub.stream.wires import Wire
from rooms.live_rules import LiveRules

# Of one event for a slow member, and as many again that came with the last of them: less than makes a transport full.
KEYS_AT_ONCE = 200
# Of whole events: characters that are given at once, and keys that are kept.
SIZE_AT_ONCE = 48 * 1024
MOST_KEYS = 1_000


class Kept(ABC):
    """`behind` says of each slow member after which offset; `position` is that of what is newest."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.behind: dict[Member, int] = {}
        self.position = 0

    @abstractmethod
    def add(self, entries: Sequence[Entry]) -> None:
        """Take what came."""

    @abstractmethod
    def after(self, offset: int) -> Sequence[Entry]:
        """Return events of what is newer than `offset`, or, where that is much, of what is the oldest of it; at least one.

        Up to the offset of the last one they leave nothing out.
        """

    def overtaken(self) -> list[Member]:
        """Return those who have not had what is kept no more."""
        return []


def kept_of(wire: Wire, rules: LiveRules) -> Kept:
    """Return what keeps, by these rules."""
    return KeptMembers(wire, rules.keyed) if rules.keyed else KeptEvents(wire, rules.key)


class KeptMembers(Kept):
    """The newest value of each member of `data[keyed]`."""

    def __init__(self, wire: Wire, keyed: str) -> None:
        super().__init__(wire)
        self._keyed = keyed
        # The newest value of each key, and the offset that it came with; the newest ones last.
        self._values: dict[str, tuple[int, Any]] = {}
        self._newest: Entry | None = None
        self._event: dict[str, Any] = {}

    def add(self, entries: Sequence[Entry]) -> None:
        """As Kept.add."""
        for entry in entries:
            self.position = entry.position
            self._newest, self._event = entry, orjson.loads(entry.envelope)
            for key, value in self._event["data"][self._keyed].items():
                self._values.pop(key, None)
                self._values[key] = entry.position, value

    def after(self, offset: int) -> Sequence[Entry]:
        """As Kept.after: one event."""
        newest = self._newest
        assert newest is not None  # noqa: S101 - nobody is behind before something has come
        told: dict[str, Any] = {}
        upto = offset
        for key, (position, value) in self._values.items():
            if position <= offset:
                continue
            if len(told) >= KEYS_AT_ONCE and position > upto:
                break
            told[key], upto = value, position
        else:
            upto = newest.position
        event = {**self._event, "data": {**self._event["data"], self._keyed: told}}
        return (replace(newest, position=upto, envelope=orjson.dumps(event).decode()),)


class KeptEvents(Kept):
    """The newest event of each value of `data[key]`; without a key, or where it is missing, they have one together."""

    def __init__(self, wire: Wire, key: str) -> None:
        super().__init__(wire)
        self._key = key
        # The newest ones last, so in the order of their offsets.
        self._events: dict[bytes, Entry] = {}
        self._dropped = 0

    def add(self, entries: Sequence[Entry]) -> None:
        """As Kept.add. Of too many keys the oldest go."""
        for entry in entries:
            key = self._key_of(entry)
            self._events.pop(key, None)
            self._events[key] = entry
            self.position = entry.position
        while len(self._events) > MOST_KEYS:
            self._dropped = self._events.pop(next(iter(self._events))).position

    def after(self, offset: int) -> Sequence[Entry]:
        """As Kept.after."""
        told: list[Entry] = []
        size = 0
        for entry in self._events.values():
            if entry.position <= offset:
                continue
            size += len(entry.envelope)
            if told and (size > SIZE_AT_ONCE or len(told) == KEYS_AT_ONCE):
                break
            told.append(entry)
        return told

    def overtaken(self) -> list[Member]:
        """As Kept.overtaken."""
        return [member for member, after in self.behind.items() if after < self._dropped] if self._dropped else []

    def _key_of(self, entry: Entry) -> bytes:
        if not self._key:
            return b""
        data = orjson.loads(entry.envelope)["data"]
        return orjson.dumps(data[self._key]) if isinstance(data, dict) and self._key in data else b""
