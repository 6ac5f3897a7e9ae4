"""`python -m benchmarks.receivers KIND`: takes deliveries, and says when each came. What it is told is a line of JSON on its input.

It says `ready` first, with its port where it listens; then a line each time that something came: time.monotonic_ns(), and the
numbers of the messages (job.MARK). It ends with its input.

    pull      pulls a subscription of the hub on some connections, and acknowledges what it got before it pulls again
    consume   consumes a subscription over a socket, and acknowledges what has come so far
    hooks     an HTTP server that answers each POST with 204
    pages     reads the log by GET /v2/events from its beginning, page after page
    streams   a consumer of a group of a Redis stream: XREADGROUP, then XACK
    jetstream a durable consumer of a stream of NATS, which acknowledges each message
"""

import asyncio
import re
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from os import _exit
from typing import Any, cast

import aiohttp
import orjson
import redis.asyncio as redis_asyncio
import uvloop

from benchmarks import nats
from benchmarks.job import NUMBER

_MARKED = re.compile(rb"#(\d{%d})#" % len(NUMBER))
_PULL_SECONDS = 10
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
STREAM, GROUP, FIELD = "benchmark:events", "receivers", b"event"


def say(data: bytes) -> None:
    """Tell that the messages in `data` have come."""
    came = time.monotonic_ns()
    if numbers := _MARKED.findall(data):
        sys.stdout.write(f"{came} {b' '.join(numbers).decode()}\n")
        sys.stdout.flush()


async def pull(told: dict[str, Any]) -> None:
    """Pull and acknowledge on each connection, one after the other."""
    connections = [await Calls.open(told["host"], told["port"], told["key"]) for _ in range(told["connections"])]
    _ready()
    async with asyncio.TaskGroup() as group:
        for calls in connections:
            group.create_task(_pull_for_ever(calls, f"/v2/subscriptions/{told['subscription']}", told["most"]))


async def _pull_for_ever(calls: "Calls", path: str, most: int) -> None:
    wanted = orjson.dumps({"max": most, "wait_seconds": _PULL_SECONDS})
    while True:
        said = await calls.post(f"{path}/pull", wanted)
        say(said)
        if held := [each["ack_id"] for each in orjson.loads(said)["deliveries"]]:
            await calls.post(f"{path}/ack", orjson.dumps({"ack_ids": held}))


async def consume(told: dict[str, Any]) -> None:
    """Take events, and acknowledge those that have come while the frame before was on its way."""
    headers, channel = {"Authorization": f"Bearer {told['key']}"}, f"subscriptions:{told['subscription']}"
    url = f"http://{told['host']}:{told['port']}/v2/stream"
    wanted = {"type": "subscribe", "channels": [{"channel": channel, "max_in_flight": told["most"]}]}
    held, came = list[str](), asyncio.Event()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, headers=headers) as socket,
        asyncio.TaskGroup() as group,
    ):
        await socket.send_str(orjson.dumps(wanted).decode())
        group.create_task(_acknowledge(socket, channel, held, came))
        async for message in socket:
            frame = orjson.loads(message.data)
            if frame["type"] == "event":
                say(message.data.encode())
                held.append(frame["delivery"])
                came.set()
            elif frame["type"] == "subscribed":
                _ready()


async def _acknowledge(
    socket: aiohttp.ClientWebSocketResponse, channel: str, held: list[str], came: asyncio.Event
) -> None:
    while True:
        await came.wait()
        came.clear()
        told, held[:] = list(held), []
        await socket.send_str(orjson.dumps({"type": "ack", "channel": channel, "deliveries": told}).decode())


async def pages(told: dict[str, Any]) -> None:
    """Follow the links of the log's pages to its end."""
    calls = await Calls.open(told["host"], told["port"], told["key"])
    _ready()
    path = f"/v2/events?sort=position&limit={told['most']}"
    while path:
        said = await calls.get(path)
        say(said)
        path = orjson.loads(said)["links"].get("next")


class Calls:
    """One keep-alive connection to the hub; less than an HTTP client does, so that the server is what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head

    @classmethod
    async def open(cls, host: str, port: int, key: str) -> "Calls":
        """Connect."""
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        return cls(reader, writer, f"Host: {host}:{port}\r\nAuthorization: Bearer {key}\r\n")

    async def post(self, path: str, body: bytes) -> bytes:
        """Return the body of the answer. Raises RuntimeError where it is not 200."""
        content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(f"POST {path} HTTP/1.1\r\n{self._head}{content}".encode() + body)
        return await self._answer()

    async def get(self, path: str) -> bytes:
        """Return the body of the answer. Raises RuntimeError where it is not 200."""
        self._writer.write(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())
        return await self._answer()

    async def _answer(self) -> bytes:
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        said = await self._reader.readexactly(length)
        if not head.startswith(b"http/1.1 200 "):
            raise RuntimeError(f"{head.decode()}{said.decode()}")
        return said


async def hooks(told: dict[str, Any]) -> None:
    """Answer what is posted."""
    del told
    server = await asyncio.get_running_loop().create_server(_Hook, "127.0.0.1", 0)
    _ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _Hook(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            whole = end + 4 + int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(self._buffer) < whole:
                return
            say(bytes(self._buffer[end:whole]))
            del self._buffer[:whole]
            self._transport.write(_ANSWER)


async def streams(told: dict[str, Any]) -> None:
    """Read as a consumer of the group, and acknowledge."""
    group = told.get("group", GROUP)
    redis: Any = redis_asyncio.Redis.from_url(told["url"], protocol=2)
    _ready()
    while True:
        for _, entries in await redis.xreadgroup(group, "one", {STREAM: ">"}, count=told["most"], block=1000) or []:
            say(b"".join(fields[FIELD] for _, fields in entries))
            await redis.xack(STREAM, group, *(id for id, _ in entries))


async def jetstream(told: dict[str, Any]) -> None:
    """Receive, and acknowledge."""
    connection = await nats.Nats.open(told["port"])
    connection.subscribe(nats.DELIVER.encode())
    _ready()
    while True:
        _, reply, payload = await connection.next()
        say(payload)
        connection.publish(reply, b"+ACK")


def _ready(port: int = 0) -> None:
    print("ready", port, flush=True)


def _end_with_parent() -> None:
    def wait() -> None:
        sys.stdin.read()
        _exit(0)

    threading.Thread(target=wait, daemon=True).start()


KINDS: dict[str, Callable[[dict[str, Any]], Coroutine[Any, Any, None]]] = {
    "pull": pull,
    "consume": consume,
    "hooks": hooks,
    "pages": pages,
    "streams": streams,
    "jetstream": jetstream,
}

if __name__ == "__main__":
    asked = orjson.loads(sys.stdin.readline())
    _end_with_parent()
    uvloop.run(KINDS[sys.argv[1]](asked))
