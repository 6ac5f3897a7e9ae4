"""The channels that are wanted: how often, where each is, and how it stands on this connection. No I/O, no time.

What counts is what comes while a channel is joined: an event of an earlier subscription that is still on its way comes again
after the answer, for the place has not moved.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from aimatrix.live.events import Event, Frame, Reset
from aimatrix.live.places import Place, is_after
from aimatrix.live.rules import MOST_CHANNELS_A_FRAME, is_beginning, passes
from aimatrix.live.signals import Joined, Refused

Item = str | Mapping[str, Any]


class Standing(Enum):
    """How far a channel is on the connection of now."""

    IDLE = auto()
    ASKED = auto()
    JOINED = auto()
    # Refused for now.
    LATER = auto()
    # Its reader is behind.
    HELD = auto()


_AT_THE_HUB = (Standing.ASKED, Standing.JOINED)


@dataclass(slots=True)
class Channel:
    """One channel. `item` is what a subscribe frame says of it beside its name and its place."""

    name: str
    item: dict[str, Any]
    place: Place | None
    count: int = 1
    standing: Standing = Standing.IDLE
    # The id of the subscribe whose answer counts.
    asked_by: int = 0
    # Where it goes on after a loss that the hub has announced, and not told yet. A socket that ends now must not take that with
    # it, so the place stays the old one until the reset has come.
    after_loss: Place | None = None

    def put(self, place: Place) -> None:
        """Go on from `place`: where it began was told once."""
        self.place, self.after_loss = place, None
        self.item.pop("since", None)
        self.item.pop("after_event", None)

    def asked(self) -> dict[str, Any]:
        """Return its item of a subscribe frame."""
        place = {} if self.place is None else {"offset": self.place.offset, "epoch": self.place.epoch}
        return {"channel": self.name, **self.item, **{key: value for key, value in place.items() if value}}


class Channels:
    """All that are wanted, by name."""

    def __init__(self) -> None:
        self._all: dict[str, Channel] = {}

    def place(self, name: str) -> Place | None:
        """Return the place after which a channel's events are still to come."""
        channel = self._all.get(name)
        return None if channel is None else channel.place

    def has(self, standing: Standing) -> bool:
        """Tell whether some channel stands so."""
        return any(each.standing is standing for each in self._all.values())

    def want(self, item: Item) -> None:
        """Want a channel once more. Where it is wanted already, it stays as it is."""
        more: dict[str, Any] = {"channel": item} if isinstance(item, str) else dict(item)
        name = more.pop("channel")
        known = self._all.get(name)
        if known is not None:
            known.count += 1
            return
        offset, epoch = more.pop("offset", None), more.pop("epoch", None)
        place = None if offset is None else Place(str(offset), epoch or "")
        self._all[name] = Channel(name, more, place)

    def unwant(self, name: str) -> bool:
        """Want it once less; tell whether the hub must hear of it."""
        channel = self._all.get(name)
        if channel is None:
            return False
        channel.count -= 1
        if channel.count:
            return False
        del self._all[name]
        return channel.standing in _AT_THE_HUB

    def hold(self, name: str) -> bool:
        """Want no more of it for now; tell whether the hub must hear of it."""
        channel = self._all.get(name)
        if channel is None or channel.standing is Standing.HELD:
            return False
        is_there = channel.standing in _AT_THE_HUB
        channel.standing = Standing.HELD
        return is_there

    def resume(self, name: str) -> None:
        """Want it again."""
        channel = self._all.get(name)
        if channel is not None and channel.standing is Standing.HELD:
            channel.standing = Standing.IDLE

    def reset(self) -> None:
        """Note that the connection is gone, and with it what was joined."""
        for each in self._all.values():
            if each.standing is not Standing.HELD:
                each.standing = Standing.IDLE

    def retry(self) -> None:
        """Let those that were refused for now be asked for again."""
        for each in self._all.values():
            if each.standing is Standing.LATER:
                each.standing = Standing.IDLE

    def clear(self) -> None:
        """Forget all."""
        self._all.clear()

    def ask(self, next_id: Callable[[], int]) -> Iterator[Frame]:
        """Return the frames that ask for what is not asked for yet; `next_id` gives the id of each."""
        idle = [each for each in self._all.values() if each.standing is Standing.IDLE]
        for at in range(0, len(idle), MOST_CHANNELS_A_FRAME):
            some, id = idle[at : at + MOST_CHANNELS_A_FRAME], next_id()
            for each in some:
                each.standing, each.asked_by, each.after_loss = Standing.ASKED, id, None
            yield {"id": id, "type": "subscribe", "channels": [each.asked() for each in some]}

    def answered(self, id: object, item: Mapping[str, Any]) -> Joined | Refused | None:
        """Take in what became of one channel of the frame `id`; return what is told of it."""
        channel = self._all.get(item["channel"])
        if channel is None or channel.standing is not Standing.ASKED or channel.asked_by != id:
            return None
        if "error" in item:
            return self._refused(channel, item["error"])
        channel.standing = Standing.JOINED
        if "offset" not in item:
            return Joined(channel.name, None, item)
        place = Place(item["offset"], item["epoch"])
        if channel.place is not None and not item.get("recovered"):
            channel.after_loss = place
        else:
            channel.put(place)
        return Joined(channel.name, place, item)

    def refused_all(self, id: object, error: Mapping[str, Any]) -> list[Refused]:
        """Take in that the frame `id` was refused as a whole: so is each channel of it."""
        asked = [each for each in self._all.values() if each.standing is Standing.ASKED and each.asked_by == id]
        return [self._refused(each, error) for each in asked]

    def _refused(self, channel: Channel, error: Mapping[str, Any]) -> Refused:
        is_final = not passes(error)
        if is_final:
            del self._all[channel.name]
        else:
            channel.standing = Standing.LATER
        return Refused(channel.name, error, is_final)

    def lose(self, name: str) -> bool:
        """Note that the hub took a channel away; tell whether it was wanted."""
        return self._all.pop(name, None) is not None

    def is_joined(self, name: object) -> bool:
        """Tell whether frames of this channel are wanted now."""
        channel = self._all.get(name) if isinstance(name, str) else None
        return channel is not None and channel.standing is Standing.JOINED

    def news(self, frame: Frame) -> Event | None:
        """Return the event of a frame where it is news, with its channel's place moved behind it."""
        channel = self._all.get(frame["channel"])
        if channel is None or channel.standing is not Standing.JOINED:
            return None
        place, offset = channel.after_loss or channel.place, frame.get("offset")
        # An event of a durable subscription comes again until it is answered.
        if offset is None or "delivery" in frame:
            return Event(channel.name, Place(offset or "", ""), frame)
        epoch = frame.get("epoch")
        if place is None or (epoch is not None and epoch != place.epoch):
            place = Place(offset, epoch or "")
        elif is_after(offset, place.offset):
            place = Place(offset, place.epoch)
        else:
            return Event(channel.name, place, frame) if is_beginning(frame["event"]["type"]) else None
        channel.put(place)
        return Event(channel.name, place, frame)

    def moved(self, frame: Frame) -> Reset | None:
        """Take the place at which a channel goes on; return what its readers are told."""
        channel = self._all.get(frame["channel"])
        if channel is None or channel.standing is not Standing.JOINED:
            return None
        channel.put(Place(frame["offset"], frame["epoch"]))
        return Reset(channel.name, Place(frame["offset"], frame["epoch"]), frame)

    def bookmark(self, place: Mapping[str, Any]) -> bool:
        """Move quiet channels of that life on, so that coming back is quick; tell whether one has moved."""
        has_moved = False
        for each in self._all.values():
            mine = each.place
            if each.standing is not Standing.JOINED or each.after_loss or mine is None or mine.epoch != place["epoch"]:
                continue
            if is_after(place["offset"], mine.offset):
                each.place = Place(place["offset"], mine.epoch)
                has_moved = True
        return has_moved
