"""A reader that keeps an exact record of what it was told, in order, for the checker: joins, events and resets of each channel.

It does what docs/protocol.md asks of a client: it keeps offset and epoch, gives them back, takes a reset for what it is, and comes
again where a channel was refused for the moment. What comes by what changed it makes whole before it is noted.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tests.harness.stream_client import Bookmark, Frame, Received, StreamReader
from tests.harness.views import Brought, View

Kind = Literal["joined", "event", "reset"]
# Refusals of a channel that pass.
FOR_THE_MOMENT = ("SERVICE_UNAVAILABLE", "RATE_LIMIT_EXCEEDED")


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that a client was told of a channel.

    `asked` is the bookmark that it had given when it joined, `connection` the number of the socket, `reason` that of a reset.
    """

    kind: Kind
    channel: str
    epoch: str
    offset: int
    connection: int
    event: Mapping[str, Any] | None = None
    recovered: bool = False
    asked: Bookmark | None = None
    reason: str = ""
    left: bool = False


@dataclass
class Watcher(StreamReader):
    """A StreamReader with a `record`; `refused` counts channels that were refused for the moment.

    `views` are of channels that are not seen whole; `way` is how it comes.
    """

    record: list[Told] = field(default_factory=list[Told])
    refused: int = 0
    views: Mapping[str, View] = field(default_factory=dict[str, View])
    way: ClassVar[str] = "sockets"
    _joined_on: dict[str, int] = field(default_factory=dict[str, int])
    _brought: dict[str, Brought] = field(default_factory=lambda: defaultdict[str, Brought](Brought))

    def __post_init__(self) -> None:
        self.options = {channel: view.options for channel, view in self.views.items()}

    def is_at(self, channel: str, epoch: str, offset: int) -> bool:
        """Tell whether the channel has come to this place; never of another epoch."""
        mark = self._bookmarks[channel]
        return mark.epoch == epoch and mark.offset is not None and mark.offset >= offset

    @property
    def live(self) -> bool:
        """Whether every channel is subscribed now. Raises what ended the reader."""
        return self._check() and self._live

    def told(self, channel: str) -> list[Told]:
        """Return the record of one channel."""
        return [each for each in self.record if each.channel == channel]

    def _take_event(self, frame: Frame) -> None:
        channel = frame["channel"]
        mark = self._bookmarks[channel]
        try:
            event = self._brought[channel].whole(frame) if "delta" in self.options.get(channel, {}) else frame["event"]
        except LookupError as error:
            self.problems.append(f"{error!r}: a patch of what was not brought: {frame}")
            event = frame["event"]
        came = Received(channel, mark.epoch or "", int(frame["offset"]), event)
        mark.offset = came.offset
        self.received.append(came)
        self._note("event", channel, came.epoch, came.offset, event=came.event, left="left" in frame)
        if self.on_event is not None:
            self.on_event(came)

    def _take_subscribed(self, item: Mapping[str, Any]) -> None:
        channel = item["channel"]
        if "error" in item:
            if item["error"]["code"] not in FOR_THE_MOMENT:
                self.problems.append(f"refused channel: {item}")
                return
            self.refused += 1
            self.cut()
            return
        asked = self._bookmarks[channel]
        super()._take_subscribed(item)
        self._joined_on[channel] = self.connections
        self._brought[channel].anew()
        self._note(
            "joined", channel, item["epoch"], int(item["offset"]), recovered=bool(item.get("recovered")), asked=asked
        )

    def _take(self, frame: Frame) -> None:
        if self._comes_too_early(frame):
            return
        super()._take(frame)
        match frame["type"]:
            case "subscribed":
                self._live = all(self._joined_on.get(channel) == self.connections for channel in self.channels)
            case "reset":
                self._brought[frame["channel"]].anew()
                self._note(
                    "reset", frame["channel"], frame["epoch"], int(frame["offset"]), reason=str(frame.get("reason"))
                )
            case _:
                pass

    def _comes_too_early(self, frame: Frame) -> bool:
        if frame["type"] not in ("event", "reset") or self._joined_on.get(frame["channel"]) == self.connections:
            return False
        # A connection is in the room of its own subject before it has said from where it wants to go on.
        if not frame["channel"].startswith("users:"):
            self.problems.append(f"{frame['type']} before subscribed: {frame}")
        return True

    def _note(self, kind: Kind, channel: str, epoch: str, offset: int, **rest: Any) -> None:
        self.record.append(Told(kind, channel, epoch, offset, self.connections, **rest))
