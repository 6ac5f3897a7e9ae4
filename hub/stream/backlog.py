"""What members of one organisation have yet to be written, while it is more than fits one turn of the loop. No I/O here.

    queue    what came since the sweep began, in order, with the rooms that it is for
    sweep    what is being written: each member that has not had it, with its rooms

A member gets its part of the sweep, then its part of the queue: slice by slice, or at once where somebody asks for that member
(`take`). It is written down only for those who were asked for how much of the queue they have had. When a sweep is through, the
queue becomes the next one: however many messages came meanwhile, each member gets one write for all of them.
"""

import asyncio
from collections.abc import Iterable, Sequence

from hub.stream.room import Member, Room, masks_of

# Of frames in a queue. Beyond, whoever brings them is asked to wait: what one delivery may bring comes on top.
QUEUE_BYTES = 1024 * 1024
# Writing so many bytes to a member takes about as long again as writing to it at all.
BYTES_OF_A_WRITE = 8 * 1024

# Frames in order, each with the index of its room among those touched.
Frames = list[tuple[int, bytes]]
# Some frames, joined, and how many they are.
Joined = tuple[int, bytes]
# Members who get the same.
Share = tuple[Joined, list[Member]]
_NOTHING: Joined = (0, b"")


def weight_of(frames: Sequence[bytes]) -> int:
    """Return what it takes to write the frames, joined, to a member: in writes of a small message."""
    return 1 + sum(map(len, frames)) // BYTES_OF_A_WRITE


class Backlog:
    """Of one organisation. Every method is one step: nothing is delivered in between."""

    __slots__ = ("_emptied", "_queue", "_sweep")

    def __init__(self) -> None:
        self._queue = _Queue()
        self._sweep = _Sweep(self._queue)
        self._emptied: asyncio.Future[None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every member has had everything."""
        return not self._sweep.masks and not self._queue.frames

    @property
    def writes(self) -> int:
        """About how many members have yet to be written to."""
        return len(self._sweep.masks) + sum(len(room.members) for room in self._queue.rooms)

    def add(self, touched: Sequence[Room], frames: Frames) -> None:
        """Take frames for whoever is in the touched rooms now."""
        self._queue.add(touched, frames)
        if not self._sweep.masks:
            self._begin_sweep()

    def emptied(self) -> asyncio.Future[None] | None:
        """Return what is done when the queue has become a sweep; None where there is room for more."""
        if self._queue.size <= QUEUE_BYTES:
            return None
        if self._emptied is None:
            self._emptied = asyncio.get_running_loop().create_future()
        return self._emptied

    def take(self, member: Member) -> Joined:
        """Return what the member has not had, in order: it has had everything now. Before it joins or leaves a room, above all."""
        swept = self._sweep.take(member)
        number, data = self._queue.take(member)
        return (swept[0] + number, swept[1] + data) if number else swept

    def take_all(self, members: Iterable[Member]) -> list[Share]:
        """As `take`, of each of them."""
        groups: dict[Joined, list[Member]] = {}
        for member in members:
            groups.setdefault(self.take(member), []).append(member)
        groups.pop(_NOTHING, None)
        return list(groups.items())

    def next_slice(self, most: int) -> list[Share]:
        """Return what the next members get, at least one and about `most` writes of small messages."""
        if not self._sweep.masks:
            self._begin_sweep()
        return self._sweep.next_slice(most)

    def _begin_sweep(self) -> None:
        self._sweep, self._queue = _Sweep(self._queue), _Queue()
        if self._emptied is not None:
            self._emptied.set_result(None)
            self._emptied = None


class _Queue:
    """`had`: of those who were asked for, how many of the frames (from the first) they have had, or were not there for.

    The rooms and their frames go by bits, 1 << the number of the room here.
    """

    def __init__(self) -> None:
        self.rooms: dict[Room, int] = {}
        self.frames: list[tuple[int, bytes]] = []
        self.size = 0
        self.had: dict[Member, int] = {}

    def add(self, touched: Sequence[Room], frames: Frames) -> None:
        bits = [self.rooms.setdefault(room, 1 << len(self.rooms)) for room in touched]
        for index, frame in frames:
            self.frames.append((bits[index], frame))
            self.size += len(frame)

    def take(self, member: Member) -> Joined:
        after = self.had.get(member, 0)
        if after == len(self.frames):
            return _NOTHING
        self.had[member] = len(self.frames)
        mask = 0
        for room, bit in self.rooms.items():
            if member in room.members:
                mask |= bit
        return _joined([frame for bit, frame in self.frames[after:] if bit & mask]) if mask else _NOTHING


class _Sweep:
    """What a queue held, for the members that its rooms have when it begins: `masks`, those that have not had it."""

    def __init__(self, queue: _Queue) -> None:
        self._frames = queue.frames
        self._had = queue.had
        self._parts: dict[int, Joined] = {}
        self.masks = masks_of(queue.rooms) if queue.rooms else {}
        for member, had in queue.had.items():
            if had == len(queue.frames):
                self.masks.pop(member, None)
        self._by_room: dict[int, list[bytes]] = {}
        for bit, frame in queue.frames:
            self._by_room.setdefault(bit, []).append(frame)

    def take(self, member: Member) -> Joined:
        mask = self.masks.pop(member, 0)
        return self._part(mask, self._had.get(member, 0)) if mask else _NOTHING

    def next_slice(self, most: int) -> list[Share]:
        groups: dict[Joined, list[Member]] = {}
        masks, had = self.masks, self._had
        last: tuple[int, int] | None = None
        members: list[Member] = []
        weight = 1
        while most > 0 and masks:
            member, mask = masks.popitem()
            after = had.get(member, 0) if had else 0
            if last is None or mask != last[0] or after != last[1]:
                # Neighbours mostly are in the same rooms.
                last = mask, after
                part = self._part(mask, after)
                members = groups.setdefault(part, [])
                weight = weight_of(part[1:])
            members.append(member)
            most -= weight
        groups.pop(_NOTHING, None)
        return list(groups.items())

    def _part(self, mask: int, after: int) -> Joined:
        """Join a part. That of the many is made once: what is waiting for slow sockets is one copy."""
        if after:
            return _joined([frame for bit, frame in self._frames[after:] if bit & mask])
        part = self._parts.get(mask)
        if part is None:
            # Most members are in one of the rooms only.
            frames = self._by_room.get(mask)
            part = _joined(frames or [frame for bit, frame in self._frames if bit & mask])
            self._parts[mask] = part
        return part


def _joined(frames: Sequence[bytes]) -> Joined:
    return len(frames), b"".join(frames)
