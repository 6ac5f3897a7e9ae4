"""The SDKs' live parts: how many events a second one client takes, whole and in order, and what each costs it.

The events are in the log before; the client comes with a place before them, so it is the client, or the hub that reads the log for
one, that sets the pace. A client is a program that takes `{url, key, channel, offset, epoch, count}` as its last argument and
prints `{received, wrong, seconds, cpu_seconds}`: from its first event to its last; `wrong` did not follow the one before.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import aiohttp

from benchmarks.bench import Bench
from benchmarks.publisher import OutboxPublisher
from benchmarks.report import Column, Goal, Row, Table
from benchmarks.server import CHECKOUT

# From here on Node has a WebSocket without being asked for it; the SDK itself needs 20.
NODE_WITH_SOCKETS, OLDEST_NODE = 22, 20
# A transaction of the publisher's.
BATCH = 1000
CHANNEL = "agents"
MOST_SECONDS = 120.0
# How often it is looked whether the relay has moved all of them.
LOOKS, LOOK_SECONDS = 600, 0.2


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many events a client takes, how often."""

    events: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Client:
    """Who takes them: its row's name, how it is started, and how many events a second it shall take."""

    name: str
    command: tuple[str, ...]
    goal: float | None = None


_PROGRAM = (sys.executable, "-m", "benchmarks.client_python")
PYTHON = (
    Client("**Python SDK**, `async for`", (*_PROGRAM, "json"), 10_000),
    Client("**Python SDK**, MessagePack", (*_PROGRAM, "msgpack"), 10_000),
    Client("bare `websockets` in Python", (*_PROGRAM, "bare")),
)
WHOLE = Sizes(events=100_000, rounds=3)
QUICK = Sizes(events=2_000, rounds=1)
COLUMNS = (
    Column("speed", "events/s"),
    Column("cpu", "CPU of the client, µs an event", scale=1e6, digits=1),
    Column("lost", "lost, doubled or out of order", spread=False),
)


async def measure(bench: Bench) -> list[Table]:
    """Measure each client that can run here, by turns."""
    sizes = QUICK if bench.quick else WHOLE
    clients, notes = _clients()
    clients += PYTHON
    task = await _task(bench, sizes.events)
    rows = {client.name: Row(client.name, {}) for client in clients}
    for _ in range(bench.rounds or sizes.rounds):
        for client in clients:
            for name, value in (await _run(client, task)).items():
                rows[client.name].figures.setdefault(name, []).append(value)
    goals = [
        Goal.at_least(
            f"{client.goal:,.0f} events/s: {client.name}", rows[client.name].figures["speed"], client.goal, digits=0
        )
        for client in clients
        if client.goal is not None and not bench.quick
    ]
    says = f"**One client of an SDK** takes {sizes.events:,} events of about 256 bytes that it has missed, {sizes.rounds} rounds:"
    return [Table("clients", says, "client", COLUMNS, list(rows.values()), goals, notes, main=False)]


def _clients() -> tuple[list[Client], list[str]]:
    node = node_command()
    if node is None:
        return [], ["The clients in JavaScript are missing: they need Node 20 or later."]
    program = (*node, str(CHECKOUT / "benchmarks" / "client.mjs"))
    return [
        Client("**JavaScript SDK** in Node, a callback", (*program, "callback"), 20_000),
        Client("**JavaScript SDK** in Node, `for await`", (*program, "loop"), 20_000),
        Client("bare WebSocket in Node", (*program, "bare")),
    ], []


@cache
def node_command() -> tuple[str, ...] | None:
    """Return how Node is started with a WebSocket; None where there is none, or an old one."""
    found = shutil.which("node")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(said.strip().lstrip("v").partition(".")[0])
    if major < OLDEST_NODE:
        return None
    return (found,) if major >= NODE_WITH_SOCKETS else (found, "--experimental-websocket", "--no-warnings")


async def _task(bench: Bench, count: int) -> Mapping[str, Any]:
    """Write the events, and return what a client is told."""
    organisation = await bench.hub.organisation("clients")
    url = f"http://{bench.hub.server.address}"
    offset, epoch = await _place(url, organisation.key)
    publisher = await OutboxPublisher.open(bench.hub.database_url, bench.hub.redis_url, organisation.id, 1)
    try:
        for first in range(0, count, BATCH):
            await publisher.publish_all(range(first, first + BATCH))
    finally:
        await publisher.close()
    for _ in range(LOOKS):
        if int((await _place(url, organisation.key))[0]) >= int(offset) + count:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return {"url": url, "key": organisation.key, "channel": CHANNEL, "offset": offset, "epoch": epoch, "count": count}


async def _place(url: str, key: str) -> tuple[str, str]:
    """Return where the log ends."""
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/v2/stream", headers=headers) as socket:
        await socket.send_json({"type": "subscribe", "channels": [CHANNEL]})
        async for message in socket:
            frame = message.json()
            if frame["type"] == "subscribed":
                return frame["channels"][0]["offset"], frame["channels"][0]["epoch"]
    raise RuntimeError("the hub closed the stream")


async def _run(client: Client, task: Mapping[str, Any]) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *client.command,
        json.dumps(task),
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "sdks" / "python")},
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
    )
    try:
        async with asyncio.timeout(MOST_SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = json.loads(said)
    lost = task["count"] - told["received"] + told["wrong"]
    return {"speed": told["received"] / told["seconds"], "cpu": told["cpu_seconds"] / told["received"], "lost": lost}
