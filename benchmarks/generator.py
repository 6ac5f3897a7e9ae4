"""Load generators: C programs compiled on the spot, or their slower Python stand-in where there is no compiler.

Both speak the same lines on standard output; their first comments say which.
"""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from benchmarks.job import Broker, Crowd, Joining, Pace, encode, publishing_records
from benchmarks.server import CHECKOUT, ServerProcess

_HERE = Path(__file__).parent
BUILD = _HERE / "build"
_FLAGS = ("-O2", "-Wall", "-Wextra", "-Wno-unused-function", "-o")
READY_SECONDS = 60.0
# Between two events: whatever takes longer is a fault, not a slow delivery.
SILENCE_SECONDS = 30.0


class GeneratorFailed(Exception):
    """A generator has ended, or says nothing; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Generators:
    """How to start the generators, and whether they are the slower ones."""

    loadgen: tuple[str, ...]
    httpload: tuple[str, ...]
    slower: bool
    folder: Path


def build_generators(folder: Path, *, compiler: str | None = None) -> Generators:
    """Compile what is not compiled yet. `folder` takes the files that the generators read.

    `compiler` is found by itself; an empty one means none.
    """
    found = compiler if compiler is not None else shutil.which("cc") or shutil.which("gcc") or ""
    if found and sys.platform == "linux":
        with contextlib.suppress(subprocess.CalledProcessError):
            compiled(found, "peers/floor")
            return Generators(
                (compiled(found, "loadgen"),), (compiled(found, "httpload"),), slower=False, folder=folder
            )
    python = (sys.executable, "-m", "benchmarks.fallback")
    return Generators((*python, "loadgen"), (*python, "httpload"), slower=True, folder=folder)


def compiled(compiler: str, name: str) -> str:
    """Compile `name`.c of this folder where it is newer than its program, and return that."""
    source, program = _HERE / f"{name}.c", BUILD / name
    newest = max(path.stat().st_mtime for path in (source, *_HERE.glob("*.h")))
    if not program.exists() or program.stat().st_mtime < newest:
        program.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(".unfinished")
        subprocess.run([compiler, *_FLAGS, str(unfinished), str(source)], check=True)
        unfinished.rename(program)
    return str(program)


@dataclass(frozen=True, slots=True)
class Arrival:
    """When event `index` had reached half of the members, and all of them: nanoseconds of time.monotonic_ns()."""

    index: int
    median_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Window:
    """What arrived in `seconds`. Times are from the publish of a message to its last member.

    `generator_seconds` is the processor time that the generator itself used.
    """

    deliveries: int
    seconds: float
    generator_seconds: float
    messages: int
    p50_ms: float
    p99_ms: float
    most_ms: float


class Members:
    """Connections that have joined. Either somebody else publishes, and `next()` tells of what has reached all of them, or the
    generator does: then `measuring()`, and after it `window()`."""

    def __init__(self, process: Process, pace: Pace | None = None) -> None:
        self._process = process
        self._pace = pace

    async def next(self) -> Arrival:
        """Wait for the next message that has reached all. Raises GeneratorFailed where none comes."""
        index, median_ns, last_ns = (await _line(self._process, SILENCE_SECONDS)).split()
        return Arrival(int(index), int(median_ns), int(last_ns))

    async def measuring(self) -> None:
        """Let it publish; return when the window begins."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"\n")
        warm = self._pace.warm_seconds if self._pace is not None else 0.0
        if await _line(self._process, warm + SILENCE_SECONDS) != "measuring":
            raise GeneratorFailed("the generator speaks another language")

    async def window(self) -> Window:
        """Return when the window ends, with what was seen in it."""
        seconds = self._pace.seconds if self._pace is not None else 0.0
        words = (await _line(self._process, seconds + SILENCE_SECONDS)).split()
        deliveries, nanoseconds, cpu_us, messages, p50, p99, most = (int(word) for word in words)
        return Window(deliveries, nanoseconds / 1e9, cpu_us / 1e6, messages, p50 / 1000, p99 / 1000, most / 1000)


def hub_joining(key: str, channels: Sequence[str | Mapping[str, Any]] = ("agents",)) -> Joining:
    """Tell how a connection subscribes to channels of the hub, each named, or with its options."""
    return Joining(
        path="/v2/stream",
        headers=(f"Authorization: Bearer {key}",),
        steps=(("", orjson.dumps({"type": "subscribe", "channels": list(channels)}).decode()),),
        ready='{"type":"subscribed"',
    )


def members(
    generators: Generators, server: ServerProcess, *, key: str, count: int, seconds: float
) -> AbstractAsyncContextManager[Members]:
    """Open `count` connections as members of `agents`; they are closed on leaving, and after `seconds` in any case.

    The n-th event that a connection gets is message n.
    """
    return joined(generators, server, hub_joining(key), Crowd(count), seconds=seconds, counts_events=True)


@asynccontextmanager
async def joined(
    generators: Generators,
    server: ServerProcess,
    joining: Joining,
    crowd: Crowd,
    *,
    seconds: float,
    publish: tuple[Broker, Pace] | None = None,
    counts_events: bool = False,
    is_dense: bool = False,
) -> AsyncGenerator[Members]:
    """Open connections that have joined on entering; they are closed on leaving, and after `seconds` in any case.

    With `is_dense` messages are events whose offsets must rise by one; the offset is the number. With `publish` the generator
    publishes too. Else messages are numbered by whoever publishes them, see `job.MARK`.
    """
    records: list[tuple[str, str | bytes]] = [
        ("host", server.host),
        ("port", str(server.port)),
        ("members", str(crowd.members)),
        ("rooms", str(crowd.rooms)),
        ("sources", str(crowd.sources)),
        ("seconds", f"{seconds:.0f}"),
        *joining.records(server.address),
        *([("count_events", "")] if counts_events else []),
        *([("dense", "")] if is_dense else []),
        *(publishing_records(*publish) if publish is not None else []),
    ]
    process = await _started(generators.loadgen, (_written(generators.folder / f"job-{uuid4().hex}", encode(records)),))
    try:
        if await _line(process, READY_SECONDS) != "ready":
            raise GeneratorFailed("the generator speaks another language")
        yield Members(process, publish[1] if publish is not None else None)
    finally:
        await _ended(process)


@dataclass(frozen=True, slots=True)
class Answers:
    """Requests that were answered in `seconds`, what CPU they cost the server, and how soon half and 99 % of them were."""

    requests: int
    seconds: float
    cpu_seconds: float
    p50_us: int
    p99_us: int


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `status` is what every answer must have, of all that are sent in turn."""

    method: str
    path: str
    status: int
    key: str = ""
    body: bytes = b""
    headers: tuple[str, ...] = ()

    def encode(self, address: str) -> bytes:
        """Return its bytes on the wire."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {address}"]
        if self.key:
            lines.append(f"Authorization: Bearer {self.key}")
        lines += self.headers
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return _head(lines) + self.body


async def ask(
    generators: Generators,
    server: ServerProcess,
    *requests: Request,
    connections: int,
    warm_seconds: float,
    seconds: float,
) -> Answers:
    """Send `requests` in turn on keep-alive connections, one under way on each, for `seconds` after a warm-up."""
    text = b"\0".join(request.encode(server.address) for request in requests)
    file = _written(generators.folder / "request", text)
    times = (str(round(warm_seconds * 1000)), str(round(seconds * 1000)))
    arguments = (server.host, str(server.port), str(connections), *times, str(requests[0].status), file)
    process = await _started(generators.httpload, arguments)
    try:
        await _line(process, warm_seconds + SILENCE_SECONDS)
        before = server.cpu_seconds()
        told = await _line(process, seconds + SILENCE_SECONDS)
        await server.idle()  # what its answers have left to do, such as publishing, is part of their cost
        used = server.cpu_seconds() - before
        count, nanoseconds, p50, p99 = (int(word) for word in told.split())
        return Answers(count, nanoseconds / 1e9, used, p50, p99)
    finally:
        await _ended(process)


def _head(lines: Sequence[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _written(path: Path, data: bytes) -> str:
    path.touch(0o600)  # there is a key in it
    path.write_bytes(data)
    return str(path)


async def _started(program: tuple[str, ...], arguments: Sequence[str]) -> Process:
    return await asyncio.create_subprocess_exec(
        *program, *arguments, cwd=CHECKOUT, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )


async def _line(process: Process, seconds: float) -> str:
    if process.stdout is None:
        raise GeneratorFailed("the generator has no output")
    try:
        async with asyncio.timeout(seconds):
            line = await process.stdout.readline()
    except TimeoutError:
        process.kill()
        line = b""
    if not line:
        errors = await process.stderr.read() if process.stderr is not None else b""
        said = errors.decode(errors="replace").strip()
        raise GeneratorFailed(said or f"the generator has ended, or said nothing for {seconds:.0f} s")
    return line.decode().strip()


async def _ended(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.communicate()
