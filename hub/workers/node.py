"""The node of a worker, as the parent wants it: it is told to drain, and tells what becomes of it."""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence

import structlog
import uvloop

from core.clock import SystemClock
from core.settings import Settings, SettingsError
from hub.commands.failures import FAILURES, reason_of
from hub.logs import configure_logs
from hub.main import Hub
from hub.open_files import raise_open_files
from hub.process import Process
from hub.workers.messages import Head, Line
from hub.workers.siblings import Siblings

# A worker that was replaced leaves connections without a stream so long to make their last request: others accept meanwhile.
LINGER_SECONDS = 1.5


class Worker:
    """The node, as the parent wants it."""

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket]) -> None:
        self._settings = settings
        self._line = Line(self._heard, self._orphaned)
        self._process = Process(SystemClock())
        self._siblings = Siblings(self._line.tell, self._process.clock)
        self._sockets = sockets
        self._ending: asyncio.Queue[str] = asyncio.Queue()
        self._linger = 0.0

    async def run(self, control: socket.socket) -> int:
        """Serve until told to go; returns 0 after a drain, 1 when the node had to give up."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._line, sock=control)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(ignored, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, self._ending.put_nowait, "")
        hub = Hub(
            self._settings,
            self._process.clock,
            self._ending.put_nowait,
            sockets=self._sockets,
            siblings=self._siblings,
            pauses=self._process.pauses,
        )
        starting = asyncio.create_task(hub.start())
        waiting = asyncio.create_task(self._ending.get())
        await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return 0
        try:
            await starting
        except FAILURES as error:
            self._line.tell({"say": "failed", "reason": reason_of(error)})
            return 1
        with self._process.watched():
            self._line.tell({"say": "ready", "url": hub.url, "key_file": hub.key_file and str(hub.key_file)})
            died = await waiting
            self._line.tell({"say": "leaving"})
            await hub.stop(linger=self._linger)
        self._siblings.tell_last()
        return 1 if died else 0

    def _heard(self, head: Head, body: bytes) -> None:
        match head.get("do"):
            case "drain":
                self._linger = LINGER_SECONDS if head.get("linger") else 0.0
                self._ending.put_nowait("")
            case "end":
                os._exit(1)
            case _:
                self._siblings.heard(head, body)

    def _orphaned(self) -> None:
        # The kernel's signal has ended this process already where there is one.
        if self._ending.empty():
            structlog.get_logger().error("parent_gone")
        os._exit(1)


def serve(control: socket.socket, sockets: Sequence[socket.socket]) -> int:
    """Be the node until told to go; returns the exit code."""
    try:
        settings = Settings.load()
    except SettingsError as error:
        return uvloop.run(_tell_failure(control, f"A setting is wrong:\n{error}"))
    configure_logs(settings.log)
    raise_open_files()
    return uvloop.run(Worker(settings, sockets).run(control))


async def _tell_failure(control: socket.socket, reason: str) -> int:
    line = Line(lambda _head, _body: None, lambda: None)
    await asyncio.get_running_loop().create_connection(lambda: line, sock=control)
    line.tell({"say": "failed", "reason": reason})
    line.close()
    await asyncio.sleep(0)
    return 1
