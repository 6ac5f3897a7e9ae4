"""Receivers as processes (receivers.py): started, heard, weighed, ended."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psutil

from benchmarks.generator import SILENCE_SECONDS, Arrival, GeneratorFailed
from benchmarks.server import CHECKOUT, cpu_seconds_of

_LINE_BYTES = 1 << 20


class Receiver:
    """A process that says what has come; `doubles` counts what has come once more, which is told of the first time only."""

    def __init__(self, process: Process, port: int) -> None:
        self.port = port
        self.doubles = 0
        self._process = process
        self._came = deque[Arrival]()
        self._seen = set[int]()

    async def next(self) -> Arrival:
        """Return the next message that has come for the first time. Raises GeneratorFailed where none comes."""
        while not self._came:
            came, *numbers = map(int, (await _line(self._process)).split())
            fresh = [number for number in numbers if number not in self._seen]
            self.doubles += len(numbers) - len(fresh)
            self._seen.update(fresh)
            self._came.extend(Arrival(number, came, came) for number in fresh)
        return self._came.popleft()

    @property
    def taken(self) -> int:
        """How many messages have come, each counted once."""
        return len(self._seen)

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far."""
        return cpu_seconds_of(psutil.Process(self._process.pid))


@asynccontextmanager
async def receiving(
    kind: str, told: Mapping[str, Any], *, cores: frozenset[int] | None = None
) -> AsyncGenerator[Receiver]:
    """Start one, on `cores` or on this process's; it is ready on entering, and ended on leaving."""
    command = (sys.executable, "-m", "benchmarks.receivers", kind)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=CHECKOUT, stdin=PIPE, stdout=PIPE, stderr=None, limit=_LINE_BYTES
    )
    try:
        if cores is not None:
            os.sched_setaffinity(process.pid, cores)
        if process.stdin is not None:
            process.stdin.write(orjson.dumps(told) + b"\n")
        word, port = (await _line(process)).split()
        if word != b"ready":
            raise GeneratorFailed("the receiver speaks another language")
        yield Receiver(process, int(port))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _line(process: Process) -> bytes:
    if process.stdout is None:
        raise GeneratorFailed("the receiver has no output")
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            line = await process.stdout.readline()
    except TimeoutError:
        raise GeneratorFailed(f"nothing was delivered for {SILENCE_SECONDS:.0f} s") from None
    if not line:
        raise GeneratorFailed("the receiver has ended")
    return line
