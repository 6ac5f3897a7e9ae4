"""Rooms whose slow members get the newest of each key only: `latest` in rooms/live_rules.py.

Who has taken all that was sent gets each event as it comes. For who has not, nothing is queued: the newest value of each key is
kept, once for the room (newest.py), and given as one event, or a few, as soon as the member has read. Nothing is parsed as long as
nobody is slow. Such an event has the offset up to which it leaves nothing out, so it is a bookmark as any other.
"""

import asyncio
from collections.abc import Sequence

from core.events.event import Entry
from core.pressure import Calm, Part, Pressed
from hub.stream.counts import StreamCounts
from hub.stream.newest import KEYS_AT_ONCE, Kept, kept_of
from hub.stream.room import Member, Room
from hub.stream.wires import Wire
from rooms.live_rules import LIVE, TELEMETRY, LiveRules

__all__ = ["KEYS_AT_ONCE", "Latest"]


class Latest:
    """Of all such rooms of a node. `turn` must be called while `waits` is set; it writes to `most` members at a time.

    Under `pressure` everybody is slow: what is newest goes with the turns only.
    """

    def __init__(self, counts: StreamCounts, most: int, pressure: Pressed | None = None) -> None:
        self.waits = asyncio.Event()
        self._counts = counts
        self._most = most
        self._pressure = pressure or Calm()
        self._kept: dict[Room, Kept] = {}

    def deliver(self, room: Room, wire: Wire, entries: Sequence[Entry], rules: LiveRules = LIVE[TELEMETRY]) -> None:
        """Write the newest of `entries`, all of this room and in order, to its members who can read; keep it for the others."""
        kept = self._kept.get(room)
        is_slowed = self._pressure.gives_up(Part.LATEST)
        if kept is None and (is_slowed or len(entries) > 1 or len(room.members) > self._most):
            kept = self._keep(room, wire, rules)
        if kept is not None:
            for member in room.members:
                kept.behind.setdefault(member, entries[0].position - 1)
            kept.add(entries)
            if not is_slowed:  # else with the next turn, together with what comes until then
                self._write_some(room, kept, self._most)
            return
        frame = wire.event(room.prefix, entries[0], wire.envelope(entries[0]))
        slow = [member for member in room.members if not member.outbound.write_if_free(frame)]
        self._counts.delivered(len(room.members) - len(slow), 1, len(frame))
        if slow:
            kept = self._keep(room, wire, rules)
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

    def settle(self, room: Room) -> list[Member]:
        """Write what is kept to all who are behind, who may queue it, and forget it; return who reads too slowly for that."""
        kept = self._kept.get(room)
        if kept is None:
            return []
        slow = kept.overtaken()
        for member, upto in kept.behind.items():
            while upto < kept.position and member not in slow:
                entries = kept.after(upto)
                upto = entries[-1].position  # noqa: PLW2901 - up to where it is written
                if not member.outbound.write(self._frames(room, kept, entries)):
                    slow.append(member)
        self.drop(room)
        return slow

    def _keep(self, room: Room, wire: Wire, rules: LiveRules) -> Kept:
        kept = self._kept[room] = kept_of(wire, rules)
        self.waits.set()
        return kept

    def _write_some(self, room: Room, kept: Kept, most: int) -> int:
        """Write to those behind who can read, `most` looks at most; return how many looks are left."""
        frames: dict[int, tuple[Sequence[Entry], bytes]] = {}
        for member in kept.overtaken():
            # What it has not had is not kept any more: it comes back, and finds it in the history.
            member.cut_slow()
        for member, after in list(kept.behind.items())[:most]:
            most -= 1
            if after not in frames:
                entries = kept.after(after)
                frames[after] = entries, self._frames(room, kept, entries)
            entries, joined = frames[after]
            upto = entries[-1].position
            # Those who could not read go behind those who were not looked at.
            del kept.behind[member]
            if not member.outbound.write_if_free(joined):
                kept.behind[member] = after
                continue
            self._counts.delivered(1, len(entries), len(joined))
            if upto < kept.position:
                kept.behind[member] = upto
        self._drop_idle(room, kept)
        return most

    def _frames(self, room: Room, kept: Kept, entries: Sequence[Entry]) -> bytes:
        wire = kept.wire
        return b"".join(wire.event(room.prefix, entry, wire.envelope(entry)) for entry in entries)

    def _drop_idle(self, room: Room, kept: Kept) -> None:
        if not kept.behind:
            self.drop(room)
