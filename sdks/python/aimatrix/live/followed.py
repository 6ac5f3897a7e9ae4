"""The channels of a stream of server-sent events, and the cursor from which it goes on in all of them. No I/O.

Wire form: docs/sse.md; what happens is said by `sdks/vectors/events`. A cursor begins with a place in the log; what follows its
first `~` speaks of live rooms, and is the hub's own. A channel that comes later may be at an earlier place: then the stream goes on
from there, the others get again what they had, and the machine, which knows their places, drops it. So a patch may be of what the
machine has dropped, and states are made whole here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aimatrix.live.deltas import Deltas
from aimatrix.live.events import Event, Frame
from aimatrix.live.places import Place, is_after, is_consumed, is_of_the_log
from aimatrix.live.rules import passes

# What only a socket can do for a channel.
_OF_SOCKETS = frozenset({"since", "after_event", "speed", "max_gap_ms", "max_in_flight"})
# A request's line has room for 8 KiB.
_MOST_CHARACTERS = 7_000
NEEDS_SOCKET: Mapping[str, Any] = {"code": "SERVICE_UNAVAILABLE", "message": "This needs a socket"}


@dataclass(slots=True)
class _Followed:
    """One channel. `asked_by` is the id of a subscribe that is not answered yet; `place` counts until a cursor has come."""

    item: Mapping[str, Any]
    place: Place | None
    asked_by: int | None


class FollowedChannels:
    """Those that are subscribed."""

    def __init__(self) -> None:
        self._all: dict[str, _Followed] = {}
        self._deltas = Deltas()
        self._cursor = ""

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, frame: Frame) -> list[Frame]:
        """Take a subscribe frame; return what is answered at once."""
        refused: list[Mapping[str, Any]] = []
        for asked in frame["channels"]:
            item = dict(asked)
            channel, offset, epoch = item.pop("channel"), item.pop("offset", None), item.pop("epoch", None)
            if not self._is_possible(channel, item):
                refused.append({"channel": channel, "error": NEEDS_SOCKET})
                continue
            self._all[channel] = _Followed(item, None if offset is None else Place(offset, epoch or ""), frame["id"])
            if item.get("delta"):
                self._deltas.follow(channel)
        return [{"type": "subscribed", "id": frame["id"], "channels": refused}] if refused else []

    def remove(self, channel: str) -> None:
        """Take one out."""
        self._all.pop(channel, None)
        self._deltas.leave(channel)

    def query(self) -> list[tuple[str, str]]:
        """Return what a request says of the channels."""
        return [self._asked(channel, each.item) for channel, each in self._all.items()]

    def cursor(self) -> str:
        """Return where to go on; empty: from the present."""
        first, *rooms = self._cursor.split("~")
        for channel, each in self._all.items():
            if each.place is not None and is_of_the_log(channel) and (not first or _is_before(each.place, first)):
                first = f"{each.place.offset}.{each.place.epoch}"
        return "~".join([first, *rooms])

    def take(self, frame: Frame, id: str = "") -> list[Frame]:
        """Take a frame that came, and the cursor after it; return what it is for the machine."""
        told = self._taken(frame)
        if id:
            self._cursor = id
            for each in self._all.values():
                if each.asked_by is None:
                    each.place = None
        return told

    def refuse(self, error: Mapping[str, Any]) -> list[Frame]:
        """Take in that none of the channels can be had."""
        return [told for channel in list(self._all) for told in self._joined({"channel": channel, "error": error})]

    def _is_possible(self, channel: str, item: Mapping[str, Any]) -> bool:
        if is_consumed(channel) or not _OF_SOCKETS.isdisjoint(item):
            return False
        others = [each for each in self._all if each != channel]
        if is_of_the_log(channel):
            alike = [each for each in others if _kind(each) == _kind(channel)]
            if alike and any(each.endswith("*") for each in (channel, *alike)):
                return False  # their events would come twice
        pairs = [self._asked(each, self._all[each].item) for each in others]
        pairs.append(self._asked(channel, item))
        return sum(len(name) + len(quote(value, safe="")) + 2 for name, value in pairs) <= _MOST_CHARACTERS

    def _asked(self, channel: str, item: Mapping[str, Any]) -> tuple[str, str]:
        if item.get("delta") and any(each != channel and _kind(each) == channel for each in self._all):
            # A whole kind with deltas stands alone among its resources: beside them its states come whole.
            item = {name: value for name, value in item.items() if name != "delta"}
        if not item:
            return "channel", channel
        return "subscribe", json.dumps({"channel": channel, **item}, separators=(",", ":"), ensure_ascii=False)

    def _taken(self, frame: Frame) -> list[Frame]:
        match frame["type"]:
            case "welcome":
                return [{"type": "comment"}]
            case "subscribed":
                return [told for item in frame["channels"] for told in self._joined(item)]
            case "unsubscribed":
                for channel in frame["channels"]:
                    self.remove(channel)
            case "reset":
                self._deltas.begin(frame["channel"])
            case "event":
                known = self._all.get(frame["channel"])
                # An answer that was given up may still bring some of a channel that is asked for again.
                return [] if known is not None and known.asked_by is not None else [self._whole(frame)]
            case _:
                pass
        return [frame]

    def _whole(self, frame: Frame) -> Frame:
        whole = self._deltas.made_whole(Event(frame["channel"], Place("", ""), frame)).frame
        return {name: value for name, value in whole.items() if name != "patch"} if "patch" in whole else whole

    def _joined(self, item: Mapping[str, Any]) -> Sequence[Frame]:
        channel: str = item["channel"]
        known = self._all.get(channel)
        if known is None:
            return []
        id, known.asked_by = known.asked_by, None
        self._deltas.begin(channel)
        if "error" in item:
            self.remove(channel)
            return _refused(id, item)
        if id is None:
            return [_presence(item)] if "presence" in item else []
        return _placed(id, item, known.place)


def _refused(id: int | None, item: Mapping[str, Any]) -> Sequence[Frame]:
    if id is not None:
        return [_answer(id, item)]
    # It was there. What passes ends the stream, and is asked for again.
    lost = {"type": "unsubscribed", "channels": [item["channel"]], "error": item["error"]}
    return [] if passes(item["error"]) else [lost]


def _placed(id: int, item: Mapping[str, Any], had: Place | None) -> Sequence[Frame]:
    """Return the answer for one that had a place, which the cursor may not have said."""
    channel, place = item["channel"], Place(item["offset"], item["epoch"])
    if had is None:
        return [_answer(id, item)]
    is_log = is_of_the_log(channel)
    if is_log and (had.epoch == place.epoch or not item["recovered"]):
        is_further = item["recovered"] and is_after(had.offset, place.offset)
        return [_answer(id, {**item, "offset": had.offset if is_further else place.offset})]
    if had == place:
        return [_answer(id, {**item, "recovered": True})]
    why = "history" if had.epoch == place.epoch else "epoch"
    reset = {"type": "reset", "channel": channel, "offset": place.offset, "epoch": place.epoch, "reason": why}
    return [_answer(id, {**item, "recovered": False}), reset]


def _presence(item: Mapping[str, Any]) -> Frame:
    """Return a frame that goes on from nothing: who was at another version reads the list again (docs/presence.md, "Versions")."""
    nobody = {"joined": [], "left": [], "updated": []}
    return {"type": "presence", "channel": item["channel"], "after": "", **item["presence"], **nobody}


def _answer(id: int, item: Mapping[str, Any]) -> Frame:
    return {"type": "subscribed", "id": id, "channels": [item]}


def _kind(channel: str) -> str:
    return channel.partition(":")[0]


def _is_before(place: Place, text: str) -> bool:
    """Tell whether a place is before that of a cursor, or of another life: where that is over its channel is reset."""
    offset, _, epoch = text.partition(".")
    return epoch != place.epoch or is_after(offset.removesuffix("k"), place.offset)
