"""A server under test as a process: started on its own core, watched from outside, ended by whoever started it."""

import asyncio
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from benchmarks.machine import Cores

CHECKOUT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0
STOP_SECONDS = 20.0
# It is idle when it has used less than this share of a core between two looks; the system counts in hundredths of a second.
IDLE_SHARE = 0.12
IDLE_SECONDS = 0.2
IDLE_LOOKS = 50
_ADDRESS = re.compile(r"http://([\d.]+):(\d+)")


class ServerProcess:
    """One server. It says `http://host:port` on standard output when it serves, and ends on SIGTERM or when its input ends.

    `announced` holds the lines up to that one.
    """

    def __init__(
        self, command: Sequence[str], *, cores: Cores | None, environment: Mapping[str, str], log: Path
    ) -> None:
        self.host = ""
        self.port = 0
        self.announced: list[str] = []
        self._command = command
        self._cores = cores
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """Host and port, as the Host header has them."""
        return f"{self.host}:{self.port}"

    async def start(self) -> None:
        """Start it and wait for its address. Raises RuntimeError, with what it said, where it does not serve in time."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=CHECKOUT,
                env=self._environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        if self._cores is not None:
            # Before it has threads: each inherits the core from the one that starts it.
            os.sched_setaffinity(self._process.pid, self._cores.server)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._read_address(self._process)
        except (TimeoutError, EOFError) as error:
            await self.stop()
            raise RuntimeError(f"{' '.join(self._command)} does not serve:\n{self.said()}") from error

    async def stop(self) -> None:
        """End it, by force where it takes too long."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    @property
    def pid(self) -> int:
        """Its process id. Raises RuntimeError before start()."""
        if self._process is None:
            raise RuntimeError("start() comes first")
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far, user and system, with the processes that it has started."""
        return sum(cpu_seconds_of(process) for process in self._family())

    def resident_bytes(self) -> int:
        """Return how much memory it has, with the processes that it has started."""
        return sum(process.memory_info().rss for process in self._family())

    def _family(self) -> list[psutil.Process]:
        return family(self.pid)

    async def idle(self) -> None:
        """Return when it has finished what it had to do, or after some seconds."""
        for _ in range(IDLE_LOOKS):
            before = self.cpu_seconds()
            await asyncio.sleep(IDLE_SECONDS)
            if self.cpu_seconds() - before < IDLE_SECONDS * IDLE_SHARE:
                return

    def said(self) -> str:
        """Return the end of what it said on standard error."""
        return self._log.read_text(errors="replace")[-4000:]

    async def _read_address(self, process: asyncio.subprocess.Process) -> None:
        output = process.stdout
        while output is not None:
            line = (await output.readline()).decode()
            if not line:
                raise EOFError
            self.announced.append(line.strip())
            found = _ADDRESS.search(line)
            if found is not None:
                self.host, self.port = found[1], int(found[2])
                return


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_seconds_of(process: psutil.Process) -> float:
    """Return the processor time that one process has used so far, user and system."""
    times = process.cpu_times()
    return times.user + times.system


def clean_environment() -> dict[str, str]:
    """Return the environment without what would configure a hub."""
    named = ("DATABASE_URL", "REDIS_URL", "PORT")
    return {name: value for name, value in os.environ.items() if not name.startswith("HUB_") and name not in named}
