"""What one client has been told of each of its channels, as frames go out to it: its cursor after each of them. No I/O here.

A frame gets a cursor only where a client that goes on from there misses nothing:

- of an event in two of its channels, after the first of the two frames the position is half told (cursor.py);
- while frames `reset` are yet to follow for others of its channels there is none: who is cut between them is told again;
- a room that has a beginning (rooms/beginnings.py) stays where it was until the first event after a reset, which is what was said
  so far: who is cut before that gets the reset again, and the beginning.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from core.events.event import namespace_of
from hub.stream.plain.cursor import Cursor, Place, digest_of, room_text, text_of
from hub.stream.plain.wire import EVENT, ROOM_EVENT, US
from rooms.names import is_of_log

# Refusals that end by themselves: the client asks again.
PASSING = frozenset({"SERVICE_UNAVAILABLE", "TIMEOUT"})


@dataclass(frozen=True, slots=True)
class Taken:
    """What a frame was: `cursor` where the client's moves with it; `frame` where it had to be read; `is_known` of its channels.

    `is_repeated`: the client has it already, and does not get it.
    """

    type: str
    cursor: str | None = None
    frame: Mapping[str, Any] | None = None
    is_known: bool = True
    is_repeated: bool = False


class Places:
    """Of one client; `channels` are those that it asked for, `given` is the cursor that it came with."""

    def __init__(self, channels: Collection[str], given: Cursor, has_beginning: Callable[[str], bool]) -> None:
        self._channels = frozenset(channels)
        self._given = given
        self._has_beginning = has_beginning
        self._joined: set[str] = set()
        self._log = given.log
        self._half = given.kinds_have_it
        # What the kinds' channels have already; it comes again for those of one resource.
        self._told = given.log if given.kinds_have_it else None
        self._rooms = {
            channel: place for channel in channels if (place := given.rooms.get(digest_of(channel))) is not None
        }
        self._texts = {channel: room_text(channel, place) for channel, place in self._rooms.items()}
        # Where rooms go on that were reset, and have not told their beginning; and those of them that were reset later than asked.
        self._held: dict[str, tuple[int, str]] = {}
        self._late: set[str] = set()
        # Channels whose `reset` must still come.
        self._resetting: set[str] = set()
        self._epochs: dict[str, str] = {}
        self._is_answered = False
        of_rooms = any(not is_of_log(each) for each in channels)
        kinds = {namespace_of(each) for each in channels if ":" in each}
        self._is_simple = not of_rooms and not kinds & self._channels
        self._only_room = next(iter(self._channels)) if of_rooms and len(self._channels) == 1 else ""

    @property
    def is_answered(self) -> bool:
        """Whether `subscribed` has been sent."""
        return self._is_answered

    @property
    def is_whole(self) -> bool:
        """Whether nothing more has to be told before the cursor counts."""
        return not self._resetting

    @property
    def sole(self) -> tuple[str, str] | None:
        """Of a client whose cursor is one position: the room's name, or nothing for the log, and the epoch; None: of all others."""
        if not self._is_answered or self._resetting:
            return None
        if self._only_room:
            place = self._rooms.get(self._only_room)
            return None if place is None or self._held or self._log is not None else (self._only_room, place[1])
        return ("", self._log[1]) if self._is_simple and self._told is None and self._log is not None else None

    @property
    def log(self) -> tuple[int, str] | None:
        """Where it is in the log."""
        return self._log

    def had(self, channel: str) -> bool:
        """Tell whether the client came with a place of this channel."""
        given = self._given
        of_log = given.log is not None and is_of_log(channel)
        return given.is_lost or of_log or digest_of(channel) in given.rooms

    @property
    def place(self) -> tuple[Place | None, str]:
        """Where a client with a `sole` position is, and how a room's part of its cursor is written."""
        if self._only_room:
            return self._rooms.get(self._only_room), self._texts.get(self._only_room, "")
        return self._log, ""

    def pass_to(self, place: Place | None, text: str) -> None:
        """Be where another client with the same `sole` position is, that has just been told what this one is told now."""
        if place is not None and self._only_room:
            self._rooms[self._only_room], self._texts[self._only_room] = place, text
        elif place is not None:
            self._log = place

    def text(self) -> str:
        """Return the cursor."""
        return text_of(self._log, self._texts.values(), kinds_have_it=self._half)

    def settle(self) -> None:
        """Let rooms that were reset when they were joined go on from there: they had no beginning to tell."""
        for channel in self._held.keys() - self._late:
            self._put(channel, self._held.pop(channel))

    def pass_rooms(self, heads: Mapping[str, Place]) -> None:
        """Note that everything of these live rooms up to there has been told, or is not shown to this client."""
        for channel, place in heads.items():
            if channel in self._rooms and channel not in self._held and channel not in self._resetting:
                self._put(channel, place)

    def waits(self, channel: str) -> bool:
        """Tell whether the room was reset after it was joined, and has not told its beginning yet."""
        return channel in self._late

    def take(self, payload: bytes, mark: bytes) -> Taken:
        """Take a frame and its mark (wire.py), in the order in which they go out."""
        kind, *parts = mark.split(US)
        if kind == EVENT:
            return self._of_log(int(parts[0]), parts[1].decode(), parts[2].decode())
        if kind == ROOM_EVENT:
            return self._of_room(int(parts[0]), parts[1].decode(), parts[2].decode())
        type = kind.decode()
        reader = self._readers.get(type)
        if reader is None:
            return Taken(type)
        frame = orjson.loads(payload)
        has_moved = reader(self, frame)
        return Taken(type, self.text() if has_moved and not self._resetting else None, frame)

    def _of_log(self, position: int, channel: str, narrowest: str) -> Taken:
        is_wide = channel != narrowest
        epoch = "" if self._log is None else self._log[1]
        if is_wide and self._told == (position, epoch):
            return Taken("event", is_repeated=True)
        self._log, self._told = (position, epoch), None
        self._half = is_wide and narrowest in self._joined
        return Taken("event", None if self._resetting else self.text())

    def _of_room(self, offset: int, channel: str, epoch: str) -> Taken:
        if channel not in self._channels:
            return Taken("event", is_known=False)
        self._held.pop(channel, None)
        self._late.discard(channel)
        epoch = epoch or self._epochs.get(channel, "")
        self._put(channel, (offset, epoch))
        return Taken("event", None if self._resetting else self.text())

    def _subscribed(self, frame: Mapping[str, Any]) -> bool:
        self._is_answered = True
        for each in frame["channels"]:
            channel = each["channel"]
            if "error" in each:
                continue
            self._joined.add(channel)
            place = int(each["offset"]), each["epoch"]
            if is_of_log(channel):
                if not each["recovered"] or self._log is None:
                    self._log, self._half, self._told = place, False, None
                if not each["recovered"] and (self._given.log is not None or self._given.is_lost):
                    self._resetting.add(channel)
                continue
            self._epochs[channel] = each["epoch"]
            was_given = channel in self._rooms or self._given.is_lost
            if not each["recovered"] and was_given:
                self._resetting.add(channel)
            else:
                self._put(channel, place)
        return True

    def _reset(self, frame: Mapping[str, Any]) -> bool:
        channel, place = frame["channel"], (int(frame["offset"]), frame["epoch"])
        is_first = channel not in self._resetting
        self._resetting.discard(channel)
        if not is_of_log(channel):
            if channel in self._channels:
                self._move(channel, place, is_late=is_first)
            return True
        if is_first:
            # The whole log has another epoch: every other channel of it is told the same in this turn.
            self._resetting |= {each for each in self._joined if is_of_log(each)} - {channel}
        self._log, self._half, self._told = place, False, None
        return True

    def _move(self, channel: str, place: tuple[int, str], *, is_late: bool) -> None:
        self._epochs[channel] = place[1]
        if not self._has_beginning(channel):
            self._put(channel, place)
            return
        self._held[channel] = place
        if is_late:
            self._late.add(channel)

    def _put(self, channel: str, place: tuple[int, str]) -> None:
        self._rooms[channel] = place
        self._texts[channel] = room_text(channel, place)

    def _unsubscribed(self, frame: Mapping[str, Any]) -> bool:
        for channel in frame["channels"]:
            self._joined.discard(channel)
            self._resetting.discard(channel)
        return False

    def _position(self, frame: Mapping[str, Any]) -> bool:
        self._log, self._half = (int(frame["offset"]), frame["epoch"]), False
        return True

    def _disconnect(self, _frame: Mapping[str, Any]) -> bool:
        return False

    def _pong(self, frame: Mapping[str, Any]) -> bool:
        return "position" in frame and self._position(frame["position"])

    _readers: ClassVar[Mapping[str, Callable[[Any, Mapping[str, Any]], bool]]] = {
        "subscribed": _subscribed,
        "reset": _reset,
        "unsubscribed": _unsubscribed,
        "disconnect": _disconnect,
        "position": _position,
        "pong": _pong,
    }
