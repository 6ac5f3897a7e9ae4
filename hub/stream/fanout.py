"""Fan-out: what the feed brought in one read goes to the members of its rooms on this node, one write a member.

The hot path. Nothing is awaited, parsed or made per member; a frame is built once per message and channel, and only for
channels that have members here. Members whose rooms were touched alike share one joined write.

What has more members than fit a *slice* waits in its organisation's backlog (backlog.py) and is written slice by slice, a turn of
the loop each, the organisations by turns. Only event frames wait, and only here: whoever does something else with a member (`say`,
`join`, `leave`, a delivery to few, a reset) gives it first what waits for it. So at every word to a member all that was delivered
is in its outbound queue, as if there were no slices.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from uuid import UUID

from core.events.event import Entry, namespace_of
from core.pressure import Pressed
from hub.stream.backlog import BYTES_OF_A_WRITE, Backlog, Frames, weight_of
from hub.stream.counts import StreamCounts
from hub.stream.latest import Latest
from hub.stream.room import Member, Room, masks_of
from hub.stream.view_rooms import ViewRooms, Watches, sight_of
from hub.stream.wires import Wire
from rooms.live_rules import LiveRules
from rooms.views import Sight, View

# Writes of a small message in one go: about 5 ms.
SLICE = 1_000


class Fanout:
    """Rooms by form, organisation and channel: a form that nobody here wants is never made.

    Implements rooms.feed.Sink and rooms.live_feed.LiveSink. `run()` beside everything else.
    """

    def __init__(self, most: int = SLICE, pressure: Pressed | None = None) -> None:
        # Of all streams of the node: what they do besides is added by them.
        self.counts = StreamCounts()
        self._slice = most
        self.latest = Latest(self.counts, most, pressure)
        self.watches = Watches()
        # Of the entries of a delivery that is under way, where views look at them.
        self._sights: dict[int, Sight] = {}
        # Those that have something to write, in turn.
        self._backlogs: dict[UUID, Backlog] = {}
        self._waits = asyncio.Event()
        self._rooms: dict[Wire, dict[UUID, dict[str, Room]]] = {}
        self._present: dict[UUID, dict[Member, None]] = {}

    def enter(self, org_id: UUID, member: Member) -> None:
        """Note that `member` follows the organisation's log; it hears of a new epoch."""
        self._present.setdefault(org_id, {})[member] = None

    def exit(self, org_id: UUID, member: Member) -> None:
        """Forget `member`; it has left its rooms."""
        present = self._present.get(org_id)
        if present is not None:
            present.pop(member, None)
            if not present:
                del self._present[org_id]

    def join(self, org_id: UUID, channel: str, member: Member, view: View | None = None, since: int = 0) -> None:
        """Put `member` into the channel's room: it gets what is delivered from now on.

        Of a `view` it gets what that shows, and may get by deltas what was delivered after `since`.
        """
        if self._backlogs:
            self._settle(org_id, member)
        rooms = self._rooms.setdefault(member.wire, {}).setdefault(org_id, {})
        room = rooms.get(channel)
        if room is None:
            room = rooms[channel] = Room(channel, member.wire)
        if view is None:
            room.members[member] = None
        else:
            self._join_view(org_id, room, member, view, since)

    def leave(self, org_id: UUID, channel: str, member: Member, view: View | None = None) -> None:
        """Take `member` out of the channel's room, or its view there, if it is there; what was delivered before, it has got."""
        if self._backlogs:
            self._settle(org_id, member)
        by_org = self._rooms.get(member.wire, {})
        rooms = by_org.get(org_id)
        room = rooms.get(channel) if rooms is not None else None
        if rooms is None or room is None:
            return
        if view is None:
            room.members.pop(member, None)
            self.latest.forget(room, member)
        elif room.views is not None and (watch := room.views.watch_of(view, member)) is not None:
            room.views.leave(watch, member)
            self.watches.leave(org_id, watch)
            room.views = room.views or None
        if not room.members and room.views is None:
            del rooms[channel]
            if not rooms:
                del by_org[org_id]

    @property
    def behind(self) -> int:
        """How many writes to members wait, of all organisations."""
        return sum(backlog.writes for backlog in self._backlogs.values())

    def size(self, org_id: UUID, channel: str) -> int:
        """Return how many members the channel has here."""
        return sum(len(room.members) for _, room in self._rooms_of(org_id, channel))

    def channels(self, org_id: UUID, prefix: str) -> list[str]:
        """Return the channels that have members here and begin with `prefix`."""
        present = {channel for by_org in self._rooms.values() for channel in by_org.get(org_id, ())}
        return [channel for channel in present if channel.startswith(prefix)]

    def deliver(self, org_id: UUID, entries: Sequence[Entry]) -> asyncio.Future[None] | None:
        """Write `entries`, all of one read and in position order, to the members of their channels.

        Where too much waits for them, return what is done when there is room again.
        """
        slow: list[Member] = []
        full: asyncio.Future[None] | None = None
        for wire, by_org in self._rooms.items():
            rooms = by_org.get(org_id)
            if rooms is None:
                continue
            touched, parts, frames = _frames_by_room(wire, rooms, entries, self._sights)
            if len(touched) == 1 and not self._backlogs:  # nearly always
                data = b"".join(parts[0])
                members = touched[0].members
                if len(members) * (1 + len(data) // BYTES_OF_A_WRITE) <= self._slice:
                    self._write(members, len(frames), data, slow)
                    continue
            if touched:
                full = self._deliver(org_id, touched, parts, frames, slow) or full
        if self._sights:
            self._sights.clear()
        for member in slow:  # after the loops, for it changes the rooms
            member.cut_slow()
        return full

    def deliver_latest(self, org_id: UUID, entries: Sequence[Entry], rules: LiveRules) -> None:
        """Write the newest of `entries`, all of one room, to its members who can read; keep it for the others."""
        for wire, room in self._rooms_of(org_id, entries[0].channel):
            self.latest.deliver(room, wire, entries, rules)

    def settle(self, org_id: UUID, channel: str) -> None:
        """Write to the members of a live room what waits for them: from now on it is delivered in another way."""
        slow: list[Member] = []
        for _, room in self._rooms_of(org_id, channel):
            self._settle_all(org_id, [room], slow)
            slow += self.latest.settle(room)
        for member in slow:
            member.cut_slow()

    def signal(self, org_id: UUID, channel: str, envelope: str) -> None:
        """Write what nobody keeps to those members of a live room who have taken all that was sent before."""
        for wire, room in self._rooms_of(org_id, channel):
            frame = wire.signal(channel, envelope)
            told = sum(member.outbound.write_if_free(frame) for member in room.members)
            self.counts.wrote(len(frame) * told, told)

    def say(self, member: Member, data: bytes) -> None:
        """Write whole frames to one member, after all that was delivered to it; cut it where it reads too slowly."""
        if not data:
            return
        if self._backlogs and member.org_id is not None:
            self._settle(member.org_id, member)
        self.counts.wrote(len(data))
        if not member.outbound.write(data):
            member.cut_slow()

    async def run(self) -> None:
        """Write what waits, a slice in a turn of the loop, until cancelled."""
        while True:
            if self.turn():
                await asyncio.sleep(0)
            else:
                self._waits.clear()
                await self._waits.wait()

    def turn(self) -> bool:
        """Write one slice of the organisation whose turn it is; tell whether something waits still."""
        org_id = next(iter(self._backlogs), None)
        if org_id is None:
            return False
        backlog = self._backlogs.pop(org_id)
        slow: list[Member] = []
        for (number, data), members in backlog.next_slice(self._slice):
            self._write(members, number, data, slow)
        if not backlog.is_empty:
            self._backlogs[org_id] = backlog  # behind the others
        for member in slow:
            member.cut_slow()
        return bool(self._backlogs)

    def reset(self, org_id: UUID, epoch: str, position: int, reason: str) -> None:
        """Tell every member of the organisation that its log has a new epoch."""
        self.watches.reset(org_id)
        for member in tuple(self._present.get(org_id, ())):
            member.on_new_epoch(epoch, position, reason)

    def reset_room(self, org_id: UUID, channel: str, epoch: str, offset: int, reason: str) -> None:
        """Tell the members of a live room that what was before `offset` will not come."""
        slow: list[Member] = []
        for wire, room in self._rooms_of(org_id, channel):
            self._settle_all(org_id, [room], slow)
            self.latest.drop(room)
            self.counts.resets[reason] += len(room.members)
            frame = wire.reset(channel, offset, epoch, reason)
            self.counts.wrote(len(frame) * len(room.members), len(room.members))
            slow += [member for member in room.members if not member.outbound.write(frame)]
        for member in slow:
            member.cut_slow()
        for _, room in self._rooms_of(org_id, channel):
            for member in tuple(room.members):
                member.on_room_reset(channel, epoch, offset, reason)

    def _deliver(
        self, org_id: UUID, touched: list[Room], parts: list[list[bytes]], frames: Frames, slow: list[Member]
    ) -> asyncio.Future[None] | None:
        """Write to the members of several rooms, or beside a backlog, or into it."""
        weights = [len(room.members) * weight_of(part) for room, part in zip(touched, parts, strict=True)]
        if sum(weights) > self._slice:
            return self._queue(org_id, touched, frames, weights, slow)
        self._settle_all(org_id, touched, slow)
        if _are_apart(touched):
            for room, part in zip(touched, parts, strict=True):
                self._write(room.members, len(part), b"".join(part), slow)
        else:
            for mask, members in _members_by_mask(touched).items():
                part = [frame for index, frame in frames if mask >> index & 1]
                self._write(members, len(part), b"".join(part), slow)
        return None

    def _queue(
        self, org_id: UUID, touched: list[Room], frames: Frames, weights: list[int], slow: list[Member]
    ) -> asyncio.Future[None] | None:
        """Have frames written in slices; at once to the members of small rooms, which do not wait for the large ones."""
        backlog = self._backlogs.get(org_id)
        if backlog is None:
            backlog = self._backlogs[org_id] = Backlog()
        backlog.add(touched, frames)
        left = self._slice
        for weight, index in sorted((weight, index) for index, weight in enumerate(weights)):
            left -= weight
            if left < 0:
                break
            self._settle_all(org_id, [touched[index]], slow)
        self._waits.set()
        return backlog.emptied()

    def _join_view(self, org_id: UUID, room: Room, member: Member, view: View, since: int) -> None:
        if room.views is None:
            room.views = ViewRooms(member.wire)
        watch = room.views.watch_of(view, member)
        if watch is None:
            watch = self.watches.join(org_id, view)
        else:  # it goes on from another place
            room.views.leave(watch, member)
        if self._backlogs:
            # Who is slow is seen by the next write to it.
            self._settle_all(org_id, room.views.crowded(watch), [])
        room.views.join(watch, member, since)

    def _settle(self, org_id: UUID, member: Member) -> None:
        """Write to `member` what waits for it. That it reads too slowly is seen by the next write to it."""
        backlog = self._backlogs.get(org_id)
        if backlog is not None:
            number, data = backlog.take(member)
            if data:
                self._write((member,), number, data, [])

    def _settle_all(self, org_id: UUID, rooms: Iterable[Room], slow: list[Member]) -> None:
        backlog = self._backlogs.get(org_id)
        if backlog is not None:
            for room in rooms:
                for (number, data), members in backlog.take_all(room.members):
                    self._write(members, number, data, slow)

    def _write(self, members: Collection[Member], number: int, data: bytes, slow: list[Member]) -> None:
        """Write `number` frames, joined, to each of `members`."""
        self.counts.delivered(len(members), number, len(data))
        slow += [member for member in members if not member.outbound.write(data)]

    def _rooms_of(self, org_id: UUID, channel: str) -> list[tuple[Wire, Room]]:
        found = ((wire, by_org.get(org_id, {}).get(channel)) for wire, by_org in self._rooms.items())
        return [(wire, part) for wire, room in found if room is not None for part in _parts_of(room)]


def channels_of(entry: Entry) -> tuple[str, ...]:
    """Return the channels that `entry` belongs to, the widest first."""
    namespace = namespace_of(entry.channel)
    return (entry.channel,) if namespace == entry.channel else (namespace, entry.channel)


def _frames_by_room(
    wire: Wire, rooms: dict[str, Room], entries: Sequence[Entry], sights: dict[int, Sight]
) -> tuple[list[Room], list[list[bytes]], Frames]:
    """Return the touched rooms, the frames of each, and all of them in position order with the index of the room.

    A room's views are rooms of their own here.
    """
    indexes: dict[Room, int] = {}
    touched: list[Room] = []
    parts: list[list[bytes]] = []
    frames: Frames = []
    for entry in entries:
        envelope: bytes | None = None
        for channel in channels_of(entry):
            room = rooms.get(channel)
            if room is None:
                continue
            if room.views is not None:
                for part, made in _shown(room, sight_of(sights, entry)):
                    shown = made
                    if shown is None:
                        envelope = envelope or wire.envelope(entry)
                        shown = wire.event(part.prefix, entry, envelope)
                    index = _index_of(part, indexes, touched, parts)
                    parts[index].append(shown)
                    frames.append((index, shown))
                continue
            if envelope is None:
                envelope = wire.envelope(entry)
            frame = wire.event(room.prefix, entry, envelope)
            index = indexes.get(room)
            if index is None:
                index = indexes[room] = len(touched)
                touched.append(room)
                parts.append([frame])
            else:
                parts[index].append(frame)
            frames.append((index, frame))
    return touched, parts, frames


def _index_of(room: Room, indexes: dict[Room, int], touched: list[Room], parts: list[list[bytes]]) -> int:
    """Return the index of a room, which is touched by this."""
    index = indexes.get(room)
    if index is None:
        index = indexes[room] = len(touched)
        touched.append(room)
        parts.append([])
    return index


def _shown(room: Room, sight: Sight) -> Iterator[tuple[Room, bytes | None]]:
    """Return who of a room gets something of an event, and the frame; None where that is the whole event, as it is."""
    if room.members:
        yield room, None
    if room.views is not None:
        yield from room.views.show(sight)


def _parts_of(room: Room) -> Iterator[Room]:
    """Go through a room and its views."""
    yield room
    if room.views is not None:
        yield from room.views.rooms()


def _are_apart(touched: list[Room]) -> bool:
    """Tell whether nobody is in two of the rooms."""
    members = [room.members for room in touched]
    return len(set[Member]().union(*members)) == sum(map(len, members))


def _members_by_mask(touched: list[Room]) -> dict[int, list[Member]]:
    """Group the members by which of the touched rooms they are in (1 << its index): each group gets the same bytes."""
    groups: dict[int, list[Member]] = {}
    for member, mask in masks_of({room: 1 << index for index, room in enumerate(touched)}).items():
        groups.setdefault(mask, []).append(member)
    return groups
