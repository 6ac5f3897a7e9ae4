"""What the machine asks its surroundings to do. Beside these it hands out `events.Event` and `events.Reset`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from aimatrix.live.events import Event, Frame, Reset
from aimatrix.live.places import Place

Transport = Literal["socket", "events"]
# By which whoever asked knows a request again.
Key = int | str


class State(StrEnum):
    """Where the client is; docs/clients.md says how it gets from one to the other."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    JOINING = "joining"
    LIVE = "live"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class NeedCredential:
    """Ask the program for a credential; answer by `credential` or `no_credential` with the same `ask`."""

    ask: int
    why: str


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a link; answer by `opened` or `closed`."""

    transport: Transport


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame over the link."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Drop:
    """Let go of the link. Nothing that it still says concerns anybody."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The state is another now. A waiting one ends at `until`; one that stopped has the close `code` or `status`, if any."""

    state: State
    why: str = ""
    until: float | None = None
    is_of_credential: bool | None = None
    code: int | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The hub has taken the credential."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Joined:
    """A channel goes on after `place` (None where the hub keeps it); `item` is the hub's answer."""

    channel: str
    place: Place | None
    item: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """A channel is refused: for good, or until it is asked for again by itself."""

    channel: str
    error: Mapping[str, Any]
    is_final: bool


@dataclass(frozen=True, slots=True)
class Left:
    """The hub took a channel away."""

    channel: str
    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Other:
    """A frame of a channel that only the program may know what to do with, such as presence."""

    channel: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Quiet channels have moved on: ask `place` where."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A request has its answer."""

    key: Key
    frame: Frame


@dataclass(frozen=True, slots=True)
class Failed:
    """A request has failed: the hub's error, or one of CLOSED, CONNECTION_LOST, TIMED_OUT, BUFFER_FULL."""

    key: Key
    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Warned:
    """The hub has refused a frame that nobody waits for an answer to."""

    error: Mapping[str, Any]


Output = (
    NeedCredential
    | Connect
    | Send
    | Drop
    | Changed
    | Welcomed
    | Joined
    | Refused
    | Left
    | Other
    | Bookmark
    | Answer
    | Failed
    | Warned
    | Event
    | Reset
)
