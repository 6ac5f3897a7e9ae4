"""Readers of server-sent events over time: they are kept alive, end when they must, and are small."""

import asyncio
import gc
import socket
import tracemalloc
from contextlib import AsyncExitStack
from datetime import timedelta

from core.auth.keys import hash_of
from core.auth.reference import KeyReference
from core.store.migrate import installation_secret
from hub.stream.codes import CREDENTIAL_EXPIRED, CREDENTIAL_REVOKED, RESTART, SLOW_READER
from hub.stream.settings import StreamSettings
from tests.harness.clock import ManualClock
from tests.harness.event_source import open_events
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, serve

# Measured: 8 KiB with three subscriptions, of what Python allocates; a client's socket of this process counts too.
MOST_BYTES = 14 * 1024


class TestStayingAlive:
    """What keeps a stream, and what ends it."""

    async def test_comments_come_while_nothing_happens(self, node: Node, key: str, clock: ManualClock):
        """Within 25 s, again and again; the client need not answer."""
        async with open_events(node.base_url, key, ["chat:a"]) as client:
            await client.expect("subscribed")
            for _ in range(3):
                before = client.parser.comments
                reading = asyncio.ensure_future(client.receive())
                for _ in range(56):
                    await clock.advance(0.5)
                await eventually(lambda before=before: client.parser.comments > before, what="a comment")
                reading.cancel()
            assert node.door.connections == 1

    async def test_position_comes_with_a_cursor(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """So that the cursor of a sparse channel does not grow old."""
        async with open_events(node.base_url, key, ["twins"]) as client:
            await client.expect("subscribed")
            await node.emit(organisation.id, 5)
            await node.logged(organisation.id, 5)
            waiting = asyncio.ensure_future(client.expect("position"))
            while not waiting.done():
                await clock.advance(0.5)
            assert client.cursor.startswith("5.")

    async def test_reader_that_reads_nothing_is_cut(
        self, database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation, key: str
    ):
        """And misses nothing: it comes back with its cursor."""
        settings = StreamSettings(waiting_bytes=256 * 1024)
        async with serve(database_url, redis_url, clock, settings=settings) as node:
            sock = socket.create_connection(("127.0.0.1", node.port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            request = (
                f"GET /v2/stream/events?channels=agents HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\r\n"
            )
            sock.sendall(request.encode())
            with sock:
                await eventually(lambda: node.door.sockets and node.door.sockets[0].channels)
                for _ in range(40):
                    await node.emit(organisation.id, 20, padding=16_000)
                await eventually(lambda: node.door.counts.closed[SLOW_READER.code] == 1, what="cut")
                for _ in range(14):
                    await clock.advance(0.5)
                await eventually(lambda: node.door.connections == 0, what="gone")
            assert node.door.waiting.bytes == 0

    async def test_drain_sends_everybody_away(self, node: Node, key: str, clock: ManualClock):
        """With the slot in `retry`, which EventSource waits for."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(open_events(node.base_url, key, ["agents"])) for _ in range(20)]
            for client in clients:
                await client.expect("subscribed")
            draining = asyncio.create_task(node.door.drain(clock.monotonic() + 0.01))
            while not draining.done():
                await clock.advance(0.01)
            for client in clients:
                told = await client.ended()
                assert told is not None
                assert told["code"] == RESTART.code
                assert client.parser.retry_ms == told["after_ms"]
                assert client.cursor
        assert node.door.connections == 0

    async def test_credential_that_ends(self, node: Node, organisation: Organisation, clock: ManualClock):
        """It is announced, then over; a stream cannot renew it."""
        key = await organisation.key(expires_at=clock.now() + timedelta(seconds=90))
        async with open_events(node.base_url, key, ["agents"]) as client:
            await client.expect("subscribed")
            ending = asyncio.ensure_future(client.ended())
            while not ending.done():
                await clock.advance(0.5)
            told = await ending
            assert "token_expiring" in [frame["type"] for frame in client.frames]
            assert told is not None
            assert (told["code"], told["reconnect"]) == (CREDENTIAL_EXPIRED.code, True)

    async def test_credential_that_is_revoked(
        self, node: Node, organisation: Organisation, key: str, clock: ManualClock
    ):
        """Ends at once, and its client is told not to come back."""
        async with open_events(node.base_url, key, ["agents"]) as client:
            await client.expect("subscribed")
            await organisation.revoke(key)
            ending = asyncio.ensure_future(client.ended())
            while not ending.done():
                await clock.advance(0.5)
            told = await ending
            assert told is not None
            assert (told["code"], told["reconnect"]) == (CREDENTIAL_REVOKED.code, False)

    async def test_ticket(self, node: Node, organisation: Organisation, key: str):
        """Opens one stream, as of a socket."""
        secret = await installation_secret(organisation.database_url)
        ticket, _ = await node.tickets.issue(KeyReference(hash_of(secret, key)))
        async with open_events(node.base_url, None, ["agents"], ticket=ticket) as client:
            await client.expect("subscribed")
        async with open_events(node.base_url, None, ["agents"], ticket=ticket, status=401):
            pass

    async def test_client_that_talks_on_is_cut(self, node: Node, key: str):
        """Nobody reads it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(
            f"GET /v2/stream/events?channels=agents HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        await reader.readuntil(b"welcome")
        writer.write(b"x" * 100_000)
        await eventually(lambda: node.door.connections == 0)
        writer.close()

    async def test_client_that_goes_leaves_nothing(self, node: Node, key: str, organisation: Organisation):
        async with open_events(node.base_url, key, ["agents", "chat:a"]) as client:
            await client.expect("subscribed")
            assert node.seats.held(organisation.id) == 1
        await eventually(lambda: node.door.connections == 0)
        assert node.seats.held(organisation.id) == 0
        fanout = node.door.parts.sources.fanout
        assert fanout.size(organisation.id, "agents") == fanout.size(organisation.id, "chat:a") == 0


async def _opened(node: Node, key: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)  # noqa: FBT003 - the standard library's
    await loop.sock_connect(client, ("127.0.0.1", node.port))
    request = f"GET /v2/stream/events?channels=agents,knowledge,twins HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\r\n"
    await loop.sock_sendall(client, request.encode())
    seen = b""
    while b'"subscribed"' not in seen:
        seen += await loop.sock_recv(client, 65536)
    return client


async def test_idle_readers_are_small(database_url: str, redis_url: str, clock: ManualClock, key: str):
    """No task and no timer for any of them; of what Python allocates, some KiB each."""
    settings = StreamSettings(handshakes_per_second=1_000_000.0)  # the clock stands still
    async with serve(database_url, redis_url, clock, settings=settings) as node:
        first = [await _opened(node, key) for _ in range(100)]
        tasks = len(asyncio.all_tasks())
        gc.collect()
        tracemalloc.start()
        try:
            more = [await _opened(node, key) for _ in range(300)]
            gc.collect()
            size = tracemalloc.get_traced_memory()[0] / len(more)
        finally:
            tracemalloc.stop()
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks + 1)
        for client in (*first, *more):
            client.close()
        await eventually(lambda: node.door.connections == 0)
    assert size < MOST_BYTES
