"""What a socket costs that does nothing: no task, no timer, a few KiB."""

import asyncio
import gc
import socket
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.harness.waiting import eventually
from tests.hub.stream.node import Node
from tests.hub.stream.raw_socket import TEXT, frame

# Measured: 6 KiB with three subscriptions, of what Python allocates; a client's socket of this process counts too.
MOST_BYTES = 12 * 1024
_ASKING = frame(TEXT, b'{"type":"subscribe","channels":["agents","knowledge","twins"]}')


async def _subscribed(node: Node, key: str) -> socket.socket:
    """Return a client that has three subscriptions, made of as little as can be."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)  # noqa: FBT003 - the standard library's
    await loop.sock_connect(client, ("127.0.0.1", node.port))
    request = (
        f"GET /v2/stream HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await loop.sock_sendall(client, request.encode())
    seen = b""
    while b'"welcome"' not in seen:
        seen += await loop.sock_recv(client, 65536)
    await loop.sock_sendall(client, _ASKING)
    while b'"subscribed"' not in seen:
        seen += await loop.sock_recv(client, 65536)
    return client


@asynccontextmanager
async def idle(node: Node, key: str, count: int) -> AsyncGenerator[None]:
    """Have `count` sockets that do nothing."""
    clients = [await _subscribed(node, key) for _ in range(count)]
    try:
        yield
    finally:
        for client in clients:
            client.close()
        await eventually(lambda: node.door.connections == 0)


async def test_no_task_and_no_timer(node: Node, key: str):
    """A hundred sockets more are no more of either."""
    before = len(asyncio.all_tasks())
    async with idle(node, key, 100):
        await eventually(lambda: len(asyncio.all_tasks()) <= before + 1, what="no task for any of them")
        assert node.door.connections == 100
        scheduled = getattr(asyncio.get_running_loop(), "_scheduled", None)  # where asyncio's own loop has its timers
        assert scheduled is None or len([each for each in scheduled if not each.cancelled()]) < 20


async def test_few_kib(node: Node, key: str):
    """Of what Python allocates, for each of 400 sockets after the first hundred."""
    async with idle(node, key, 100):
        gc.collect()
        tracemalloc.start()
        try:
            clients = [await _subscribed(node, key) for _ in range(400)]
            gc.collect()
            size = tracemalloc.get_traced_memory()[0] / len(clients)
        finally:
            tracemalloc.stop()
        for client in clients:
            client.close()
        assert size < MOST_BYTES
