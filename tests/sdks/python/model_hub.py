"""A hub in the test's hand: a log and live rooms that keep docs/protocol.md, over connections that end whenever the test likes.

It is a model: no socket, no time. What it sends waits in `wire` until the test lets it arrive, frame by frame.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Frame = dict[str, Any]


@dataclass
class Life:
    """One life of a channel: its epoch, and its events by offset."""

    epoch: str
    events: list[int] = field(default_factory=list[int])
    # Offsets up to here are not kept any more: a live room's history ends.
    forgotten: int = 0

    @property
    def end(self) -> int:
        """The offset of the last event."""
        return len(self.events)


class ModelHub:
    """`channels` has the present life of each channel; event numbers rise over all of them."""

    def __init__(self, channels: list[str]) -> None:
        self.channels = {name: Life(f"{name}-1") for name in channels}
        self.wire: deque[Frame] = deque()
        self.is_open = False
        self._told: dict[str, int] = {}
        self._lives = 1
        self._numbers = 0
        self.refuses: set[str] = set()

    def opened(self) -> None:
        """A connection begins."""
        self.is_open, self._told = True, {}
        self.wire.clear()

    def cut(self) -> None:
        """It ends; what was on the way is gone."""
        self.is_open, self._told = False, {}
        self.wire.clear()

    def emit(self, channel: str) -> None:
        """Something happens."""
        self._numbers += 1
        self.channels[channel].events.append(self._numbers)
        self._tell(channel)

    def forget(self, channel: str) -> None:
        """The history of a room is cut to its last two events."""
        life = self.channels[channel]
        life.forgotten = max(life.forgotten, life.end - 2)

    def begin_life(self, channel: str) -> None:
        """The channel is lost, and begins anew."""
        self._lives += 1
        self.channels[channel] = life = Life(f"{channel}-{self._lives}")
        if channel in self._told:
            self._told[channel] = life.end
            self._reset(channel, "epoch")

    def receive(self, frame: Mapping[str, Any]) -> None:
        """Take a frame of the client, and answer it."""
        match frame["type"]:
            case "authenticate":
                self.wire.append({"type": "welcome", "id": frame["id"], "ping_interval_ms": 25_000})
            case "subscribe":
                items = [self._join(item) for item in frame["channels"]]
                resets = [item.pop("reset") for item in items]
                self.wire.append({"type": "subscribed", "id": frame["id"], "channels": items})
                for item, reason in zip(items, resets, strict=True):
                    if reason:
                        self._reset(item["channel"], reason)
                for item in items:
                    self._tell(item["channel"])
            case "unsubscribe":
                for channel in frame["channels"]:
                    self._told.pop(channel, None)
                self.wire.append({"type": "unsubscribed", "channels": frame["channels"]})
            case "ping":
                self.wire.append({"type": "pong", "id": frame["id"]})
            case other:
                raise AssertionError(f"a frame that no client should send: {other}")

    def bookmark(self) -> None:
        """Say how far everything of one channel's life has been told, where nothing is on the way."""
        for channel, told in self._told.items():
            life = self.channels[channel]
            if told == life.end:
                self.wire.append({"type": "position", "offset": str(told), "epoch": life.epoch})

    def _join(self, item: Mapping[str, Any]) -> Frame:
        channel = item["channel"]
        if channel in self.refuses:
            error = {"code": "SERVICE_UNAVAILABLE", "message": "not now"}
            return {"channel": channel, "error": error, "reset": ""}
        life = self.channels[channel]
        place, reason = life.end, ""
        if "offset" in item:
            asked = int(item["offset"])
            if item["epoch"] != life.epoch:
                reason = "epoch"
            elif asked > life.end:
                reason = "offset"
            elif asked < life.forgotten:
                reason = "history"
            else:
                place = asked
        self._told[channel] = place
        recovered = "offset" in item and not reason
        answer = {"channel": channel, "offset": str(place), "epoch": life.epoch, "recovered": recovered}
        return {**answer, "reset": reason}

    def _reset(self, channel: str, reason: str) -> None:
        life, told = self.channels[channel], self._told[channel]
        self.wire.append(
            {"type": "reset", "channel": channel, "offset": str(told), "epoch": life.epoch, "reason": reason}
        )

    def _tell(self, channel: str) -> None:
        if not self.is_open or channel not in self._told:
            return
        life = self.channels[channel]
        for offset in range(self._told[channel] + 1, life.end + 1):
            event = {"id": str(life.events[offset - 1]), "type": "agent.updated", "data": {}}
            self.wire.append({"type": "event", "channel": channel, "offset": str(offset), "event": event})
        self._told[channel] = life.end
