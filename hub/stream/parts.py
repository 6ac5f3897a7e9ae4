"""What all connections of a node share, and what they need of others."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from core.auth.caller import Caller
from core.auth.reference import Reference
from core.auth.seats import Seats
from core.errors import HubError
from core.pressure import Calm, Pressed
from hub.stream.calls import Operations
from hub.stream.heartbeat import Rhythm
from hub.stream.settings import StreamSettings
from hub.stream.subscription import Sources
from hub.stream.waiting import Waiting
from hub.stream.wheel import Wheel


class Watcher(Protocol):
    """Sees the frames of a connection; must not raise."""

    def received(self, message: str | bytes) -> None:
        """Take a message of the client."""
        ...

    def sent(self, data: bytes) -> None:
        """Take one or more whole frames that went to the client."""
        ...


class Authenticates(Protocol):
    """Tells who a credential speaks for (core.auth.authenticator.Authenticator)."""

    async def authenticate(self, credential: str) -> Caller:
        """Return the caller; raise HubError with status 401 where it is no good, 503 where that cannot be known."""
        ...

    async def check(self, references: Collection[Reference]) -> Mapping[Reference, Caller | HubError]:
        """Return who each credential speaks for now, or why for nobody any more; those of whom that is not known are left out."""
        ...

    async def stand(self, reference: Reference) -> Caller:
        """Return who a credential speaks for now; raise as `authenticate`."""
        ...


class Ticks(Protocol):
    """A connection on the wheel; hashed by identity."""

    due: int

    def tick(self) -> None:
        """See what time has brought, and say when to look again."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """One for each node."""

    sources: Sources
    authenticator: Authenticates
    seats: Seats
    operations: Operations
    settings: StreamSettings
    rhythm: Rhythm
    wheel: Wheel[Ticks]
    waiting: Waiting
    pressure: Pressed = field(default_factory=Calm)
