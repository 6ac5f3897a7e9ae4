"""Drives the machine: opens links, keeps time, asks for credentials, and hands on what the machine says.

Every task that it starts is in its hands until it has ended: `close` leaves none, and no socket.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from inspect import isawaitable
from typing import Any, Protocol, TypeVar

from aimatrix.live.clock import Clock
from aimatrix.live.events import Event, Frame
from aimatrix.live.links import Link, LinkClosed, NotOpened
from aimatrix.live.machine import Machine
from aimatrix.live.rules import ASLEEP_MS, LOST
from aimatrix.live.signals import Connect, Drop, NeedCredential, Output, Send, Transport

_LOG = logging.getLogger("aimatrix.live")
_NORMAL = 1000
# A timer of the loop's may stand still in sleep; so long after it at most, the machine hears of it.
_LOOK_MS = 5_000
# A credential that has not come by then is none: a call that never ends would leave the client waiting for ever.
_CREDENTIAL_SECONDS = 30.0
# A link that was let go is given as long to say goodbye.
_GOODBYE_SECONDS = 3.0
_GOODBYE = "goodbye"
Credential = Callable[[], str | Awaitable[str]]
T = TypeVar("T")


class Takes(Protocol):
    """Who is told what the machine says."""

    def take(self, output: Output) -> None:
        """Take one output, in order."""
        ...

    @property
    def is_crowded(self) -> bool:
        """Whether readers are behind, so that `relieved` is waited for before more is read."""
        ...

    async def relieved(self) -> None:
        """Give readers a turn, or a moment."""
        ...


class _Line:
    """A link that is opened or open, what waits to be sent over it, and the task that lives for it."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.unsent: asyncio.Queue[Frame] = asyncio.Queue()


class Driver:
    """Drives one machine. Used inside one event loop."""

    def __init__(
        self,
        machine: Machine,
        takes: Takes,
        *,
        clock: Clock,
        credential: Credential,
        open_link: Callable[[Transport], Coroutine[Any, Any, Link]],
    ) -> None:
        self.machine = machine
        self._takes = takes
        self._clock = clock
        self._credential = credential
        self._open_link = open_link
        self._line: _Line | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_working = False
        self._armed = math.inf
        self._earlier = asyncio.Event()

    def now(self) -> float:
        """Return the machine's time, in milliseconds."""
        return self._clock.monotonic() * 1000

    def start(self) -> None:
        """Begin to keep time, and connect."""
        if not self._tasks:
            self._spawn(self._keep_time(), "time")
            self._spawn(self._look_for_sleep(), "sleep")
        self.machine.open(self.now())
        self.work()

    async def close(self) -> None:
        """End everything, and wait until it has. What is cancelled meanwhile drops its socket."""
        self.machine.close(self.now())
        self.work()
        for task in self._tasks:
            if not task.get_name().endswith(_GOODBYE):
                task.cancel()
        try:
            # A link that is let go says goodbye, which is a task of its own, and takes a moment at most.
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()

    def work(self) -> None:
        """Do what the machine says; called after each input that it was given."""
        if self._is_working:
            return
        self._is_working = True
        try:
            while outputs := self.machine.outputs():
                for each in outputs:
                    if isinstance(each, Event):
                        self._takes.take(each)
                    else:
                        self._do(each)
        finally:
            self._is_working = False
        if self.machine.wake < self._armed:
            self._earlier.set()

    def _do(self, output: Output) -> None:
        match output:
            case Send():
                if self._line is not None:
                    self._line.unsent.put_nowait(output.frame)
            case Connect():
                self._line = line = _Line()
                line.task = self._spawn(self._live(line, output.transport), "link")
            case Drop():
                self._drop()
            case NeedCredential():
                self._ask(output)
            case _:
                self._takes.take(output)

    # Links.

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None and line.task is not None:
            line.task.cancel()

    async def _live(self, line: _Line, transport: Transport) -> None:
        try:
            link = await self._open_link(transport)
        except NotOpened as refused:
            self._ended(line, LOST, refused.why, status=refused.status, retry_after=refused.retry_after)
            return
        sender = self._spawn(self._send(line, link), "sender")
        try:
            self.machine.opened(self.now())
            self.work()
            await self._receive(line, link)
        except LinkClosed as closed:
            self._ended(line, closed.code, closed.reason, status=closed.status, retry_after=closed.retry_after)
        finally:
            sender.cancel()
            self._spawn(self._say_goodbye(link), _GOODBYE)

    async def _receive(self, line: _Line, link: Link) -> None:
        machine, takes = self.machine, self._takes
        while line is self._line:
            machine.frame(self.now(), await link.receive())
            self.work()
            if takes.is_crowded:
                await takes.relieved()

    async def _send(self, line: _Line, link: Link) -> None:
        # The link's reader hears of its end too, and tells the machine.
        with suppress(LinkClosed):
            while True:
                await link.send(await line.unsent.get())

    async def _say_goodbye(self, link: Link) -> None:
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await link.close(_NORMAL)
        except TimeoutError:
            pass
        finally:
            link.abort()

    def _ended(
        self, line: _Line, code: int, reason: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        if line is self._line:
            self._line = None
            wait = None if retry_after is None else retry_after * 1000
            self.machine.closed(self.now(), code, reason, status=status, retry_after=wait)
            self.work()

    # The credential.

    def _ask(self, asked: NeedCredential) -> None:
        task = self._spawn(self._call(), "credential", is_awaited=True)
        task.add_done_callback(lambda done: self._answered(asked.ask, done))

    async def _call(self) -> str:
        given = self._credential()
        if not isawaitable(given):
            return given
        called, late = asyncio.ensure_future(given), asyncio.ensure_future(self._clock.sleep(_CREDENTIAL_SECONDS))
        try:
            await asyncio.wait((called, late), return_when=asyncio.FIRST_COMPLETED)
            if not called.done():
                raise TimeoutError("no credential in time")
            return called.result()
        finally:
            late.cancel()
            if called.cancel():
                await asyncio.wait((called,))

    def _answered(self, ask: int, done: asyncio.Task[str]) -> None:
        if done.cancelled():
            self.machine.no_credential(self.now(), ask, "the call for a credential was cancelled")
        elif (error := done.exception()) is not None:
            _LOG.warning("no credential could be had", exc_info=error)
            self.machine.no_credential(self.now(), ask, str(error) or type(error).__name__)
        else:
            self.machine.credential(self.now(), ask, done.result())
        self.work()

    # Time.

    async def _keep_time(self) -> None:
        while True:
            self._earlier.clear()
            self._armed = self.machine.wake
            delay = self._armed - self.now()
            if await self._passed(max(delay, 0)):
                self.machine.time(self.now())
                self.work()

    async def _passed(self, delay: float) -> bool:
        """Wait so many milliseconds, or until the machine wants to be called earlier; tell which it was."""
        earlier = asyncio.ensure_future(self._earlier.wait())
        waited: set[asyncio.Future[Any]] = {earlier}
        if delay < math.inf:
            waited.add(asyncio.ensure_future(self._clock.sleep(delay / 1000)))
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waited:
                each.cancel()
        return not earlier.done() or earlier.cancelled()

    async def _look_for_sleep(self) -> None:
        """See that the machine was asleep: more time has passed than was waited for."""
        while True:
            before = self.now()
            await self._clock.sleep(_LOOK_MS / 1000)
            if self.now() - before - _LOOK_MS >= ASLEEP_MS:
                is_late = self.now() - self.machine.wake >= ASLEEP_MS
                (self.machine.time if is_late else self.machine.check)(self.now())
                self.work()

    # Tasks.

    def _spawn(self, work: Coroutine[Any, Any, T], name: str, *, is_awaited: bool = False) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=f"aimatrix.live {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard if is_awaited else self._reap)
        return task

    def _reap(self, task: asyncio.Task[Any]) -> None:
        """Take note of a task's end. A fault of ours is no reason to stay away: the machine is told of a loss."""
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        _LOG.error("%s has failed", task.get_name(), exc_info=error)
        line = self._line
        if line is not None and line.task is task:
            self._ended(line, LOST, "a fault in the client")
