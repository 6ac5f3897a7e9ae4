"""The channels of a stream of server-sent events, and the cursor from which it goes on in all of them. No I/O.

Wire form: docs/sse.md. A cursor begins with a place in the log; what follows its first `~` speaks of live rooms, and is the hub's
own. So of channels of the log the one that is least far is where the stream goes on; the others get again what they had, and the
machine, which knows their places, drops it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aimatrix.live.events import Frame
from aimatrix.live.places import Place, is_after, is_consumed, is_of_the_log

# What only a socket can do for a channel.
_BESIDE = frozenset({"filter", "presence", "delta", "since", "after_event", "max_in_flight"})
NEEDS_SOCKET: Mapping[str, Any] = {"code": "SERVICE_UNAVAILABLE", "message": "This needs a socket"}


@dataclass(slots=True)
class _Followed:
    """One channel. `asked_by` is the id of a subscribe that is not answered yet."""

    place: Place | None
    asked_by: int | None


class FollowedChannels:
    """Those that are subscribed."""

    def __init__(self) -> None:
        self._all: dict[str, _Followed] = {}
        self._rooms = ""

    def __bool__(self) -> bool:
        return bool(self._all)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._all))

    def add(self, frame: Frame) -> list[Mapping[str, Any]]:
        """Take a subscribe frame; return the items of its answer that are known at once."""
        refused: list[Mapping[str, Any]] = []
        for item in frame["channels"]:
            channel: str = item["channel"]
            if is_consumed(channel) or not _BESIDE.isdisjoint(item):
                refused.append({"channel": channel, "error": NEEDS_SOCKET})
                continue
            place = Place(item["offset"], item.get("epoch", "")) if "offset" in item else None
            self._all[channel] = _Followed(place, frame["id"])
        return refused

    def remove(self, channel: str) -> None:
        """Take one out."""
        self._all.pop(channel, None)

    def cursor(self) -> str:
        """Return where to go on; empty: from the present."""
        places = [each.place for name, each in self._all.items() if each.place is not None and is_of_the_log(name)]
        first = places[0] if places else None
        for each in places:
            if first is None or each.epoch != first.epoch:
                # Of two lives one is over: whichever the hub does not know, all of them are reset, and nothing is lost unsaid.
                first = each
                break
            if is_after(first.offset, each.offset):
                first = each
        log = "" if first is None else f"{first.offset}.{first.epoch}"
        return f"{log}~{self._rooms}" if self._rooms else log

    def take_id(self, id: str) -> None:
        """Note the cursor after a frame."""
        self._rooms = id.partition("~")[2]

    def take(self, frame: Frame) -> Iterator[Frame]:
        """Take a frame that came; return what it is for the machine."""
        match frame["type"]:
            case "subscribed":
                for item in frame["channels"]:
                    yield from self._joined(item)
            case "welcome":
                yield {"type": "comment"}
            case "unsubscribed":
                for channel in frame["channels"]:
                    self.remove(channel)
                yield frame
            case _:
                self._move(frame)
                yield frame

    def _move(self, frame: Frame) -> None:
        channel = self._all.get(frame.get("channel", ""))
        if frame["type"] == "position":
            for name, each in self._all.items():
                if is_of_the_log(name) and each.place is not None and each.place.epoch == frame["epoch"]:
                    each.place = _later(each.place, frame["offset"])
        elif channel is None or channel.place is None:
            return
        elif frame["type"] == "event" and is_of_the_log(frame["channel"]):
            channel.place = _later(channel.place, frame["offset"])
        elif frame["type"] == "reset":
            channel.place = Place(frame["offset"], frame["epoch"])

    def _joined(self, item: Mapping[str, Any]) -> Iterator[Frame]:
        name = item["channel"]
        known = self._all.get(name)
        if known is None:
            return
        id, known.asked_by = known.asked_by, None
        if "error" in item:
            self.remove(name)
            if id is not None:
                yield {"type": "subscribed", "id": id, "channels": [item]}
            return
        place, had = Place(item["offset"], item["epoch"]), known.place
        if had is not None and is_of_the_log(name) and item["recovered"] and had.epoch == place.epoch:
            place = _later(had, place.offset)
        if had is None or item["recovered"]:
            known.place = place
        # The cursor may know nothing of a room: then nothing is missing where it is still at its place, else the hub does not know.
        is_unknown = had is not None and not is_of_the_log(name) and not item["recovered"]
        is_gap = is_unknown and had != place
        if id is not None:
            recovered = item["recovered"] or (is_unknown and not is_gap)
            told = {**item, "offset": place.offset, "recovered": recovered}
            yield {"type": "subscribed", "id": id, "channels": [told]}
        if is_gap and id is not None:
            yield {"type": "reset", "channel": name, "offset": place.offset, "epoch": place.epoch, "reason": "history"}
            known.place = place


def _later(place: Place, offset: str) -> Place:
    return Place(offset, place.epoch) if is_after(offset, place.offset) else place
