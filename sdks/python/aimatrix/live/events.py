"""What a program gets of a channel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aimatrix.live.places import Place

Frame = Mapping[str, Any]


@dataclass(slots=True)
class Event:
    """One event. `body` is the event itself as the hub wrote it, `frame` all that came with it (`delivery`, `attempt`, ...).

    `place` is what to keep once the event was dealt with: given back to `subscribe`, the channel goes on after it.
    """

    channel: str
    place: Place
    frame: Frame

    @property
    def body(self) -> Mapping[str, Any]:
        """The event: `id`, `type`, `source`, `subject`, `time`, `data`."""
        return self.frame["event"]

    @property
    def id(self) -> str:
        """The event's id: the same whenever, and by whichever way, it comes."""
        return self.frame["event"]["id"]

    @property
    def type(self) -> str:
        """What has happened, such as `agent.created`. There will be more: ignore those that you do not know."""
        return self.frame["event"]["type"]

    @property
    def subject(self) -> str:
        """What it has happened to, such as `agents/0192...`."""
        return self.frame["event"]["subject"]

    @property
    def time(self) -> str:
        """When, by RFC 3339."""
        return self.frame["event"]["time"]

    @property
    def data(self) -> Any:
        """The whole resource, or what was published."""
        return self.frame["event"]["data"]

    @property
    def left(self) -> bool:
        """Whether a resource has stopped to match the filter of the channel (docs/views.md): who holds it lets it go."""
        return bool(self.frame.get("left"))


@dataclass(slots=True)
class Reset:
    """Events of a channel may be missing before `place`: what the program holds may be out of date, and it reads that again."""

    channel: str
    place: Place
    frame: Frame

    @property
    def reason(self) -> str:
        """Why: `epoch` (another life of the channel), `offset` (it ends before what was seen) or `history` (kept no longer)."""
        return str(self.frame.get("reason", ""))
