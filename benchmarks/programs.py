"""C programs of this folder that make a load of their own: `storm.c`, `inbound.c`. Nothing stands in for a compiler."""

import asyncio
import contextlib
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from benchmarks.generator import GeneratorFailed, Generators, compiled
from benchmarks.job import encode

READY_SECONDS = 60.0


class Program:
    """One that is ready, and begins when it is told to."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def begin(self) -> None:
        """Let it begin."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"\n")

    async def line(self, seconds: float) -> str:
        """Return the next line that it prints. Raises GeneratorFailed, with what it said, where none comes in time."""
        line = b""
        if self._process.stdout is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    line = await self._process.stdout.readline()
        if line:
            return line.decode().strip()
        await self.end()
        errors = b"" if self._process.stderr is None else await self._process.stderr.read()
        raise GeneratorFailed(errors.decode(errors="replace").strip() or f"nothing for {seconds:.0f} s")

    async def numbers(self, seconds: float) -> list[int]:
        """Return the numbers of the next line."""
        return [int(word) for word in (await self.line(seconds)).split()]

    async def end(self) -> None:
        """End it, with its connections."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def started(
    generators: Generators, name: str, records: Sequence[tuple[str, str | bytes]]
) -> AsyncGenerator[Program]:
    """Compile `name`.c and start it on a job; it is ready on entering, and ended on leaving."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise GeneratorFailed(f"{name}.c needs a C compiler")
    job = generators.folder / f"job-{uuid4().hex}"
    job.touch(0o600)  # there is a key in it
    job.write_bytes(encode(records))
    process = await asyncio.create_subprocess_exec(
        compiled(compiler, name), str(job), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    program = Program(process)
    try:
        if await program.line(READY_SECONDS) != "ready":
            raise GeneratorFailed(f"{name}.c speaks another language")
        yield program
    finally:
        await program.end()
