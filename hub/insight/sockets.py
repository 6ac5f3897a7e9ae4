"""What insight needs of an open stream (hub.stream.connection.Connection)."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Protocol

from core.auth.caller import Caller
from hub.stream.codes import CloseCode
from hub.stream.outbound import Outbound
from hub.stream.parts import Watcher


class Socket(Protocol):
    """An open stream."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def caller(self) -> Caller | None: ...  # noqa: D102
    @property
    def since(self) -> datetime: ...  # noqa: D102
    @property
    def channels(self) -> Collection[str]: ...  # noqa: D102
    @property
    def outbound(self) -> Outbound: ...  # noqa: D102

    @property
    def watcher(self) -> Watcher | None:
        """Who watches it."""
        ...

    def watch(self, watcher: Watcher | None) -> None:
        """Show `watcher` every frame from now on, instead of another."""
        ...

    def end(self, code: CloseCode) -> None:
        """End it."""
        ...


# The open streams of this node, asked for anew each time.
Sockets = Callable[[], Iterable[Socket]]
