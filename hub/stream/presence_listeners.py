"""Who hears of the presence of rooms on this node: a diff is one frame for each form, written once for each who hears the room.

Nobody is here who has not asked. Large rooms are written to in slices, a turn of the loop each; what comes next waits in the room's
feed meanwhile. A node that has too much to do (docs/overload.md) tells later: what has changed until then comes together.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson

from core.clock import Clock, SystemClock
from core.pressure import Calm, Part, Pressed
from hub.stream.fanout import SLICE, Fanout
from hub.stream.room import Member
from hub.stream.wires import Wire
from rooms.presence.presence import Presence
from rooms.presence.wire import Diff
from rooms.sequence import Full

_Frames = dict[Wire, bytes]
# How often a node under pressure looks whether it may tell again.
EASED_SECONDS = 0.25


@dataclass(eq=False, slots=True)
class _Telling:
    """Diffs that are on their way to members; `listeners` are those who still hear the room."""

    members: Sequence[Member]
    listeners: dict[Member, None]
    diffs: Sequence[Diff]
    frames: _Frames
    done: Full
    at: int = 0


class PresenceListeners:
    """Members by organisation and channel. Implements rooms.presence.feed.PresenceSink; `run()` beside everything else."""

    def __init__(
        self, fanout: Fanout, most: int = SLICE, *, pressure: Pressed | None = None, clock: Clock | None = None
    ) -> None:
        self._fanout = fanout
        self._pressure = pressure or Calm()
        self._clock = clock or SystemClock()
        self._slice = most
        self._rooms: dict[tuple[UUID, str], dict[Member, None]] = {}
        self._tellings: deque[_Telling] = deque()
        self._some = asyncio.Event()

    def add(self, org_id: UUID, channel: str, member: Member) -> None:
        """Let `member` hear what is told of the channel from now on."""
        self._rooms.setdefault((org_id, channel), {})[member] = None

    def remove(self, org_id: UUID, channel: str, member: Member) -> None:
        """Let it hear no more."""
        listeners = self._rooms.get((org_id, channel))
        if listeners is not None:
            listeners.pop(member, None)
            if not listeners:
                del self._rooms[org_id, channel]

    def tell(self, org_id: UUID, channel: str, diffs: Sequence[Diff]) -> Full | None:
        """Write diffs to all who hear the channel; where that is not done at once, return what is done when it is."""
        listeners = self._rooms.get((org_id, channel))
        if listeners is None:
            return None
        frames: _Frames = {}
        if len(listeners) <= self._slice and not self._pressure.gives_up(Part.PRESENCE):
            self._write(tuple(listeners), listeners, diffs, frames)
            return None
        done: Full = asyncio.get_running_loop().create_future()
        self._tellings.append(_Telling(tuple(listeners), listeners, diffs, frames, done))
        self._some.set()
        return done

    async def run(self) -> None:
        """Write to large rooms, a slice in a turn of the loop, until cancelled."""
        while True:
            await self._some.wait()
            while self._tellings:
                while self._pressure.gives_up(Part.PRESENCE):
                    await self._clock.sleep(EASED_SECONDS)
                telling = self._tellings.popleft()
                self._turn(telling)
                await asyncio.sleep(0)
            self._some.clear()

    def _turn(self, telling: _Telling) -> None:
        some = telling.members[telling.at : telling.at + self._slice]
        self._write(some, telling.listeners, telling.diffs, telling.frames)
        telling.at += len(some)
        if telling.at < len(telling.members):
            self._tellings.append(telling)  # behind the others
        elif not telling.done.done():
            telling.done.set_result(None)

    def _write(
        self, members: Sequence[Member], listeners: dict[Member, None], diffs: Sequence[Diff], frames: _Frames
    ) -> None:
        for member in members:
            if member in listeners:  # else it was cut meanwhile
                frame = frames.get(member.wire)
                if frame is None:
                    frame = frames[member.wire] = b"".join(frame_of(member.wire, diff) for diff in diffs)
                self._fanout.say(member, frame)


@dataclass(frozen=True, slots=True)
class NodePresence:
    """The presence of a node, and who hears of it there."""

    rooms: Presence
    listeners: PresenceListeners


def frame_of(wire: Wire, diff: Diff) -> bytes:
    """Return the frame that tells a diff."""
    lists = orjson.loads(f"{{{diff.envelope}}}")
    place = {"version": str(diff.position), "epoch": diff.epoch, "after": str(diff.after)}
    return wire.reply("presence", None, channel=diff.channel, **place, **lists)
