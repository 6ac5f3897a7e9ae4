"""The parsers of a node: documents are read in processes of their own, so that a hostile one costs nothing but itself.

They are started when there is something to do, used again, and ended when there was nothing for a while, or when one has grown.
"""

import asyncio
from dataclasses import dataclass

from core.clock import Clock, SystemClock
from core.deadline import within
from core.errors import HubError
from handlers.knowledge.parsing.child import NoParser, Parser
from handlers.knowledge.parsing.parsed import Parsed
from handlers.knowledge.parsing.unparsable import Unparsable


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process: seconds for a document, bytes of address space, and seconds without work; and how many calls may wait."""

    seconds: float = 30.0
    memory: int = 1 << 30
    idle: float = 60.0
    waiting: int = 500


class Parsers:
    """At most `size` processes. To be closed."""

    def __init__(self, size: int = 2, *, limits: Limits | None = None, clock: Clock | None = None) -> None:
        self._limits = limits or Limits()
        self._clock = clock or SystemClock()
        self._size = size
        self._places = asyncio.Semaphore(size)
        self._most = size + self._limits.waiting
        self._here = 0
        self._idle: list[tuple[float, Parser]] = []  # since when; the last one used is the first to be used again
        self._busy: set[Parser] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def busy(self) -> list[int]:
        """The processes that are at work on a document."""
        return [child.pid for child in self._busy]

    @property
    def pids(self) -> list[int]:
        """The processes that live."""
        idle = [child for _, child in self._idle if child.is_usable]
        return [child.pid for child in (*self._busy, *idle)]

    async def parse(self, content: bytes, content_type: str, name: str) -> Parsed:
        """Parse one document, in its turn.

        Raises Unparsable for what is wrong with it, HubError SERVICE_UNAVAILABLE where too many wait, and NoParser where no process
        is to be had.
        """
        self._refuse_closed()
        if self._here >= self._most:
            raise HubError("SERVICE_UNAVAILABLE", "Too many documents wait to be read.")
        self._here += 1
        try:
            async with self._places:
                child = await self._taken()
                return await self._parsed(child, content, content_type, name)
        finally:
            self._here -= 1

    async def close(self) -> None:
        """End all processes; documents under way are given up with NoParser."""
        if self._closed:
            return
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.kill() for child in (*self._busy, *(child for _, child in idle))))
        # One that is just being started is seen by nobody yet: who starts it ends it.
        for _ in range(self._size):
            await self._places.acquire()

    async def _taken(self) -> Parser:
        self._refuse_closed()
        while self._idle:
            _, child = self._idle.pop()
            if child.is_usable:
                return child
            await child.kill()
        child = await Parser.start(self._limits.memory)
        if self._closed:
            await child.kill()
        self._refuse_closed()
        return child

    def _refuse_closed(self) -> None:
        if self._closed:
            raise NoParser("The hub ends.")

    async def _parsed(self, child: Parser, content: bytes, content_type: str, name: str) -> Parsed:
        self._busy.add(child)
        is_whole = False
        try:
            parsed = await within(self._clock, self._limits.seconds, child.parse(content, content_type, name))
            is_whole = True
            return parsed
        except TimeoutError:
            raise Unparsable("TIMEOUT", f"The document took more than {self._limits.seconds:g} s to read.") from None
        except Unparsable:
            self._refuse_closed()
            is_whole = True
            raise
        finally:
            # What was interrupted is still at work on the document.
            self._busy.discard(child)
            await self._left(child, is_whole=is_whole)

    async def _left(self, child: Parser, *, is_whole: bool) -> None:
        if not is_whole or self._closed or not child.is_usable:
            await asyncio.shield(asyncio.ensure_future(child.kill()))
            return
        self._idle.append((self._clock.monotonic(), child))
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        """End those without work for long, until there are none."""
        while self._idle:
            await self._clock.sleep(self._limits.idle)
            until = self._clock.monotonic() - self._limits.idle
            ended = [child for since, child in self._idle if since <= until]
            self._idle = [each for each in self._idle if each[0] > until]
            await asyncio.gather(*(child.kill() for child in ended))
