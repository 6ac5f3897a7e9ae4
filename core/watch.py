"""What is noted of one request while it is watched, in debug mode. Nobody's request but its own is held up by it.

`WATCHED` is the watch of the request whose task this is, None where nobody watches, which is all that the others pay for.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar

from core.clock import Clock

Result = TypeVar("Result")
Given = TypeVar("Given")


class Watch:
    """How long the parts of one request took, in seconds, by name; and what else is to be shown (`kept`)."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.began = clock.monotonic()
        self.seconds: dict[str, float] = {}
        self.kept: dict[str, Any] = {}
        self._open: set[str] = set()

    def add(self, name: str, since: float) -> None:
        """Count the time since `since` (monotonic) to a part."""
        self.seconds[name] = self.seconds.get(name, 0.0) + self.clock.monotonic() - since

    @contextmanager
    def part(self, name: str) -> Generator[None]:
        """Count what happens meanwhile to a part; within itself it is counted once."""
        if name in self._open:
            yield
            return
        self._open.add(name)
        since = self.clock.monotonic()
        try:
            yield
        finally:
            self._open.discard(name)
            self.add(name, since)

    def call(self, name: str, function: Callable[..., Result], *args: Any) -> Result:
        """Call a function as a part."""
        with self.part(name):
            return function(*args)


class Timed(AbstractAsyncContextManager[Given]):
    """Another context, whose time is a part's."""

    def __init__(self, watch: Watch, name: str, inner: AbstractAsyncContextManager[Given]) -> None:
        self._part = watch.part(name)
        self._inner = inner

    async def __aenter__(self) -> Given:
        self._part.__enter__()
        try:
            return await self._inner.__aenter__()
        except BaseException:
            self._part.__exit__(None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._inner.__aexit__(kind, error, trace)
        finally:
            self._part.__exit__(None, None, None)


WATCHED: ContextVar[Watch | None] = ContextVar("watched", default=None)
