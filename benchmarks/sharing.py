"""`python -m benchmarks.sharing TASK`: the persons of one organisation, who publish, join and create at a fixed pace.

TASK is a Task as JSON. The program says `ready`, begins with the next line of its input, and prints, by what was done, how many ns
each took since it was due. Who is late does not wait for longer afterwards: what was due meanwhile is done, late.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
import uvloop

from benchmarks.deaf import deaf
from benchmarks.latency import BODY
from benchmarks.server import CHECKOUT

DATA = "." * 500
ROOMS_OF_A_PERSON = 50
HEADERS = {"Content-Type": "application/json"}
PATIENCE_SECONDS = 60.0
YIELDING = 10
Waits = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Task:
    """What one organisation does: each person does each thing so many times a second; `deaf` sockets are in all rooms.

    Who `yields` runs when nobody else on its core wants to: the hub's clients, engines and noise share what the hub leaves.
    """

    host: str
    port: int
    key: str
    persons: int
    per_second: float
    deaf: int
    yields: bool
    warm_seconds: float
    seconds: float


class Organisation:
    """One that is ready, as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self) -> Waits:
        """Let it do everything for its time; return how long each thing took, in ns, by its name."""
        said, _ = await asyncio.wait_for(self._process.communicate(b"go\n"), PATIENCE_SECONDS)
        return json.loads(said)


@asynccontextmanager
async def sharing(task: Task) -> AsyncGenerator[Organisation]:
    """Open an organisation's connections."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "benchmarks.sharing", json.dumps(asdict(task)))
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, stdin=pipe, stdout=pipe)
    try:
        if process.stdout is None or await process.stdout.readline() != b"ready\n":
            raise RuntimeError("an organisation did not come to its connections")
        yield Organisation(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class _Person:
    """Has a socket for what it publishes and hears, and one for what it joins."""

    def __init__(self, speaking: "_Socket", joining: "_Socket", http: aiohttp.ClientSession, number: int) -> None:
        self._speaking, self._joining, self._http = speaking, joining, http
        self._room = _room(number)
        self._joined = 0

    async def begin(self) -> None:
        await self._speaking.subscribe(self._room)

    async def publish(self) -> dict[str, int]:
        """Publish into the own room; tell when that was answered, and when it was heard there."""
        await self._speaking.send({"type": "publish", "id": 1, "channel": self._room, "data": DATA})
        return await self._speaking.until({"result": "publish, answered", "event": "publish, heard"})

    async def join(self) -> dict[str, int]:
        self._joined += 1
        channel = f"{self._room}-{self._joined % ROOMS_OF_A_PERSON}"
        done = await self._joining.subscribe(channel)
        await self._joining.send({"type": "unsubscribe", "id": 2, "channels": [channel]})
        await self._joining.until({"unsubscribed": ""})
        return done

    async def create(self) -> dict[str, int]:
        async with self._http.post("/v2/agents", data=BODY, headers=HEADERS) as answer:
            await answer.read()
            answer.raise_for_status()
        return {"create": time.monotonic_ns()}


class _Socket:
    """A WebSocket on which one thing at a time is asked."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, frame: dict[str, Any]) -> None:
        await self._socket.send_str(json.dumps(frame))

    async def subscribe(self, channel: str) -> dict[str, int]:
        await self.send({"type": "subscribe", "id": 3, "channels": [channel]})
        return await self.until({"subscribed": "join"})

    async def until(self, wanted: dict[str, str]) -> dict[str, int]:
        """Read until a frame of each type has come; return when, by its name. Raises RuntimeError where something is refused."""
        came: dict[str, int] = {}
        while len(came) < len(wanted):
            text = await self._socket.receive_str()
            now = time.monotonic_ns()
            frame = json.loads(text)
            if '"error"' in text:  # of the frame, or of a channel in it
                raise RuntimeError(text)
            if frame["type"] in wanted:
                came[wanted[frame["type"]]] = now
        return came


def _room(number: int) -> str:
    return f"chat:share-{number}"


async def _paced(task: Task, offset: float, work: Callable[[], Awaitable[dict[str, int]]], waits: Waits) -> None:
    """Do `work` whenever it is due; note what was due after the warm-up."""
    begin = time.monotonic_ns()
    for number in range(round((task.warm_seconds + task.seconds) * task.per_second)):
        after = (number + offset) / task.per_second
        due = begin + round(after * 1e9)
        await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        for name, at in (await work()).items():
            if after >= task.warm_seconds:
                waits.setdefault(name, []).append(at - due)


async def _main(task: Task) -> None:
    loop = asyncio.get_running_loop()
    if task.yields:
        os.nice(YIELDING)
    url, headers = f"http://{task.host}:{task.port}", {"Authorization": f"Bearer {task.key}"}
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        http = await stack.enter_async_context(aiohttp.ClientSession(url, headers=headers, connector=connector))

        async def opened() -> _Socket:
            return _Socket(await stack.enter_async_context(http.ws_connect("/v2/stream")))

        persons = [_Person(await opened(), await opened(), http, number) for number in range(task.persons)]
        for each in persons:
            await each.begin()
        rooms = ["agents", *map(_room, range(task.persons))]
        for _ in range(task.deaf):
            stack.enter_context(await deaf(task.host, task.port, task.key, rooms))
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        waits: Waits = {}
        works = [work for each in persons for work in (each.publish, each.join, each.create)]
        async with asyncio.TaskGroup() as group:
            for number, work in enumerate(works):
                group.create_task(_paced(task, number / len(works), work, waits))
        print(json.dumps(waits), flush=True)


if __name__ == "__main__":
    uvloop.run(_main(Task(**json.loads(sys.argv[1]))))
