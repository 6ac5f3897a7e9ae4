"""A worker as its parent sees it, and its place: the sockets that one worker after another listens on."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hub.workers.messages import Head, Line


class Child:
    """One worker process and the line to it.

    `settled` is set when it accepts or has ended, `gone` when it accepts no more, `over` when it has ended and all that it said was
    heard. `counts` is what it had counted when it last said so, `carried` what it was given of those before it but not taken in.
    """

    def __init__(self, place: int) -> None:
        self.place = place
        self.ready_at: float | None = None
        self.is_leaving = False
        self.reason = ""
        self.counts = b""
        self.carried: list[bytes] = []
        self.settled, self.gone, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._absorbed = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Line | None = None
        self._is_lost = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return 0 if self._process is None else self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, None while it lives."""
        return None if self._process is None else self._process.returncode

    def start(self, sockets: Sequence[int]) -> socket.socket:
        """Start the process on these sockets, and return this side's end of the line. Raises OSError where it cannot be."""
        own, other = socket.socketpair()
        own.settimeout(0)
        command = [sys.executable, "-m", "hub.workers.worker", "--control", str(other.fileno())]
        command += ["--parent", str(os.getpid()), "--listen", *map(str, sockets)]
        with other:
            try:
                # In this session and group: whoever stops or kills the group means all. From the main thread: the kernel ends the
                # worker with the thread that has started it.
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(other.fileno(), *sockets))
            except BaseException:
                own.close()
                raise
        return own

    async def connect(self, own: socket.socket, heard: Callable[["Child", Head, bytes], None]) -> None:
        """Speak and listen from now on."""
        line = Line(lambda head, body: heard(self, head, body), self._lost)
        await asyncio.get_running_loop().create_connection(lambda: line, sock=own)
        self._line = line
        for counts in self.carried:
            line.tell({"do": "carry"}, counts)

    def fail(self, reason: str) -> None:
        """Say that it could not even be started."""
        self.reason = reason
        self._is_lost = True
        for event in (self.settled, self.gone, self.over):
            event.set()

    def look(self) -> None:
        """See whether the process has ended."""
        if self._process is not None and self._process.poll() is not None and (self._is_lost or self._line is None):
            for event in (self.settled, self.gone, self.over):
                event.set()

    def tell(self, head: Head, body: bytes = b"") -> bool:
        """Tell it something; return whether that is on its way."""
        return self._line is not None and self._line.tell(head, body)

    def drain(self, *, linger: bool) -> None:
        """Let it end in order; `linger` where others accept meanwhile."""
        self.is_leaving = True
        if not self.tell({"do": "drain", "linger": linger}):
            self.kill()

    def kill(self) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)

    def give(self, counts: bytes) -> None:
        """Make what another has counted its own."""
        self.carried.append(counts)
        self.tell({"do": "carry"}, counts)

    def take(self, absorbed: int, counts: bytes) -> None:
        """Keep what it has counted, `absorbed` gifts included."""
        self.counts = counts
        del self.carried[: absorbed - self._absorbed]
        self._absorbed = absorbed

    def counted(self) -> list[bytes]:
        """Return all that it has counted, as far as that is known."""
        return [each for each in (self.counts, *self.carried) if each]

    def _lost(self) -> None:
        self._is_lost = True
        self.look()


@dataclass(eq=False, slots=True)
class Place:
    """`current` accepts, or will; `children` are all that live, those that come and those that leave too.

    `bringing` is held by who brings a new one. `failures` counts those in a row that ended before they had served for a while.
    `left` is what workers before have counted, while nobody is here to take it.
    """

    number: int
    sockets: list[socket.socket]
    current: Child | None = None
    children: list[Child] = field(default_factory=list[Child])
    bringing: asyncio.Lock = field(default_factory=asyncio.Lock)
    failures: int = 0
    starts: int = 0
    left: list[bytes] = field(default_factory=list[bytes])

    @property
    def accepts(self) -> bool:
        """Whether somebody takes new connections here."""
        return self.current is not None and self.current.ready_at is not None

    def hand_down(self, child: Child) -> None:
        """Give a new child what was left here."""
        for counts in self.left:
            child.give(counts)
        self.left.clear()

    def bury(self, child: Child) -> None:
        """Take a child out that has ended; what it counted goes to who is here, or stays."""
        self.children.remove(child)
        heirs = [each for each in self.children if not each.is_leaving and not each.over.is_set()]
        for counts in child.counted():
            if heirs:
                heirs[-1].give(counts)
            else:
                self.left.append(counts)
