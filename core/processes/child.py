"""One confined process, as the hub holds it: started, spoken to, ended."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

import core
from core.processes.framing import LENGTH, framed, unframed

_HOME = Path(core.__file__).parents[1]
# What it does not come to its end by: it has died.
BROKEN = (asyncio.IncompleteReadError, ConnectionError)


class NotStarted(Exception):
    """No process can be started: it says nothing about the work."""


class Child:
    """A process that runs core.processes.serving.serve, and its pipes. One that was interrupted in its work must be killed."""

    def __init__(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise NotStarted("It was started without its pipes")
        self._process = process
        self._input = process.stdin
        self._output = process.stdout
        self.is_last = False

    @classmethod
    async def start(cls, module: str, memory: int) -> "Child":
        """Start `module` with `memory` bytes of address space; return when it is ready. Raises NotStarted."""
        command = [sys.executable, "-P", "-m", module, "--parent", str(os.getpid()), "--memory", str(memory)]
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd="/", env=_environment()
            )
        except OSError as error:
            raise NotStarted(error.strerror) from error
        child = cls(process)
        try:
            await child.hear()
        except BROKEN as error:
            await child.kill()
            raise NotStarted("It ended before it was ready: does it have enough memory?") from error
        except asyncio.CancelledError:
            await child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it can be given more work."""
        return not self.is_last and self._process.returncode is None and not self._output.at_eof()

    async def say(self, message: list[Any]) -> None:
        """Give it work. Raises what is in BROKEN."""
        self._input.write(framed(message))
        await self._input.drain()

    async def hear(self) -> list[Any]:
        """Return the next that it says. Raises what is in BROKEN."""
        (length,) = LENGTH.unpack(await self._output.readexactly(LENGTH.size))
        return unframed(await self._output.readexactly(length))

    async def kill(self) -> None:
        """End it, whatever it does; returns when it has gone."""
        self.is_last = True
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._input.close()
        await self._process.wait()


def _environment() -> dict[str, str]:
    """They see nothing of the hub's environment: it holds secrets."""
    kept = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
    # More threads than one would take address space only.
    set_here = {"PYTHONPATH": str(_HOME), "PYTHONUTF8": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {**{name: os.environ[name] for name in kept if name in os.environ}, **set_here}
