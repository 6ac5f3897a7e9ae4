"""Rooms whose slow members get the newest of each key only: `latest` in rooms/live_rules.py.

Who has taken all that was sent gets each event as it comes. For who has not, nothing is queued: the newest value of each key is
kept, once for the room, and given as one event, or a few, as soon as the member has read. Nothing is parsed as long as nobody is
slow. Such an event has the offset up to which it leaves nothing out, so it is a bookmark as any other.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from core.events.event import Entry
from hub.stream.counts import StreamCounts
from hub.stream.room import Member, Room
from hub.stream.wires import Wire
from rooms.live_rules import rules_of

# Of one event for a slow member, and as many again that came with the last of them: less than makes a transport full.
KEYS_AT_ONCE = 200


class Latest:
    """Of all such rooms of a node. `turn` must be called while `waits` is set; it writes to `most` members at a time."""

    def __init__(self, counts: StreamCounts, most: int) -> None:
        self.waits = asyncio.Event()
        self._counts = counts
        self._most = most
        self._kept: dict[Room, _Kept] = {}

    def deliver(self, room: Room, wire: Wire, entries: Sequence[Entry]) -> None:
        """Write the newest of `entries`, all of this room and in order, to its members who can read; keep it for the others."""
        kept = self._kept.get(room)
        if kept is None and (len(entries) > 1 or len(room.members) > self._most):
            kept = self._keep(room, wire, entries[0])
        if kept is not None:
            for member in room.members:
                kept.behind.setdefault(member, entries[0].position - 1)
            kept.add(entries)
            self._write_some(room, kept, self._most)
            return
        frame = wire.event(room.prefix, entries[0], wire.envelope(entries[0]))
        slow = [member for member in room.members if not member.outbound.write_if_free(frame)]
        self._counts.delivered(len(room.members) - len(slow), 1, len(frame))
        if slow:
            kept = self._keep(room, wire, entries[0])
            kept.behind = dict.fromkeys(slow, entries[0].position - 1)
            kept.add(entries)

    def turn(self) -> bool:
        """Write to those who can read now; tell whether some could not be looked at."""
        left = self._most
        for room, kept in list(self._kept.items()):
            left = self._write_some(room, kept, left)
            if left <= 0:
                # The others come first the next time.
                if room in self._kept:
                    self._kept[room] = self._kept.pop(room)
                return True
        return False

    def forget(self, room: Room, member: Member) -> None:
        """Forget a member that leaves."""
        kept = self._kept.get(room)
        if kept is not None:
            kept.behind.pop(member, None)
            self._drop_idle(room, kept)

    def drop(self, room: Room) -> None:
        """Forget what is kept: the room was reset, which its members are told."""
        if self._kept.pop(room, None) is not None and not self._kept:
            self.waits.clear()

    def _keep(self, room: Room, wire: Wire, entry: Entry) -> "_Kept":
        rules = rules_of(entry.channel)
        kept = self._kept[room] = _Kept(wire, "" if rules is None else rules.keyed)
        self.waits.set()
        return kept

    def _write_some(self, room: Room, kept: "_Kept", most: int) -> int:
        """Write to those behind who can read, `most` looks at most; return how many looks are left."""
        frames: dict[int, tuple[int, bytes]] = {}
        for member, after in list(kept.behind.items())[:most]:
            most -= 1
            if after not in frames:
                entry = kept.after(after)
                frames[after] = entry.position, kept.wire.event(room.prefix, entry, kept.wire.envelope(entry))
            upto, frame = frames[after]
            # Those who could not read go behind those who were not looked at.
            del kept.behind[member]
            if not member.outbound.write_if_free(frame):
                kept.behind[member] = after
                continue
            self._counts.delivered(1, 1, len(frame))
            if upto < kept.position:
                kept.behind[member] = upto
        self._drop_idle(room, kept)
        return most

    def _drop_idle(self, room: Room, kept: "_Kept") -> None:
        if not kept.behind:
            self.drop(room)


class _Kept:
    """What a room's slow members have not had: `behind` says of each after which offset."""

    def __init__(self, wire: Wire, keyed: str) -> None:
        self.wire = wire
        self.behind: dict[Member, int] = {}
        self._keyed = keyed
        # The newest value of each key, and the offset that it came with; the newest ones last.
        self._values: dict[str, tuple[int, Any]] = {}
        self._newest: Entry | None = None
        self._event: dict[str, Any] = {}

    @property
    def position(self) -> int:
        """The offset of what is newest."""
        return 0 if self._newest is None else self._newest.position

    def add(self, entries: Sequence[Entry]) -> None:
        """Take what came."""
        for entry in entries:
            self._newest, self._event = entry, orjson.loads(entry.envelope)
            for key, value in self._event["data"][self._keyed].items():
                self._values.pop(key, None)
                self._values[key] = entry.position, value

    def after(self, offset: int) -> Entry:
        """Return an event of what is newer than `offset`, or, where that is much, of what is the oldest of it."""
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
        return replace(newest, position=upto, envelope=orjson.dumps(event).decode())
