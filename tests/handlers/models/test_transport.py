"""What the transport makes of a body, over real sockets: the first part at once, then what a tick brings, and nothing is lost.

What a server on this machine has written is there one turn of the loop later: so ticks are of a clock in the hand.
"""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx2
import pytest

from handlers.models.ticks import TICK_SECONDS
from handlers.models.transport import READ_BYTES, Transport
from tests.harness.clock import ManualClock
from tests.harness.waiting import cancelled, eventually

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LONG = 2 * TICK_SECONDS


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


END = chunk(b"")


@dataclass
class Server:
    """Says what a test writes to the last who has asked."""

    url: str = ""
    asked: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])
    requests: int = 0
    left: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
        self.left += 1

    async def begins(self, count: int = 1) -> asyncio.StreamWriter:
        await eventually(lambda: self.requests == count)
        return self.asked[count - 1]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with await asyncio.start_server(made.take, "127.0.0.1", 0) as serving:
        made.url = f"http://127.0.0.1:{serving.sockets[0].getsockname()[1]}/"
        yield made
        for writer in made.asked:
            writer.transport.abort()


@pytest.fixture
async def transport(clock: ManualClock) -> AsyncIterator[Transport]:
    made = Transport(clock)
    yield made
    await made.aclose()


@dataclass
class Reading:
    """What was read of a body so far, and by what it ended."""

    came: list[bytes] = field(default_factory=list[bytes])
    error: Exception | None = None
    is_ended: bool = False

    async def read(self, transport: Transport, url: str) -> None:
        response = await transport.handle_async_request(httpx2.Request("GET", url))
        try:
            async for part in response.aiter_raw():
                self.came.append(part)
        except httpx2.TransportError as error:
            self.error = error
        finally:
            await response.aclose()
        self.is_ended = True


@asynccontextmanager
async def reading(transport: Transport, server: Server) -> AsyncGenerator[tuple[Reading, asyncio.StreamWriter]]:
    """Ask; give what is read, and what the server writes with."""
    read, count = Reading(), len(server.asked) + 1
    task = asyncio.create_task(read.read(transport, server.url))
    writer = await server.begins(count)
    writer.write(CHUNKED)
    yield read, writer
    await cancelled(task)


async def begun(clock: ManualClock, read: Reading, writer: asyncio.StreamWriter) -> None:
    """Have a first part read, and the second be waited for to its tick."""
    writer.write(chunk(b"1"))
    await eventually(lambda: read.came == [b"1"])
    writer.write(chunk(b"2"))
    await eventually(lambda: clock.sleeping)
    await clock.settle()


async def test_first_part_comes_at_once_and_then_what_a_tick_brings(
    transport: Transport, server: Server, clock: ManualClock
):
    async with reading(transport, server) as (read, writer):
        await begun(clock, read, writer)
        for each in (b"3", b"4"):
            writer.write(chunk(each))
            await clock.settle()
        assert read.came == [b"1"]
        await clock.advance(LONG)
        assert read.came == [b"1", b"234"]
        await clock.advance(LONG)
        writer.write(chunk(b"5"))
        await clock.settle()
        await clock.advance(LONG)
        assert read.came == [b"1", b"234", b"5"]


async def test_end_is_not_waited_for(transport: Transport, server: Server, clock: ManualClock):
    """What comes with the end of a body comes when it does."""
    async with reading(transport, server) as (read, writer):
        writer.write(chunk(b"1"))
        await eventually(lambda: read.came == [b"1"])
        writer.write(chunk(b"2") + END)
        await eventually(lambda: read.is_ended)
        assert (read.came, read.error) == ([b"1", b"2"], None)
    await clock.advance(LONG)
    assert clock.sleeping == 0


async def test_body_that_ends_while_its_tick_is_waited_for(transport: Transport, server: Server, clock: ManualClock):
    async with reading(transport, server) as (read, writer):
        await begun(clock, read, writer)
        writer.write(chunk(b"3") + END)
        await clock.settle()
        await clock.advance(LONG)
        await eventually(lambda: read.is_ended)
        assert (b"".join(read.came), read.error) == (b"123", None)


@pytest.mark.parametrize("broken", [b"", b"no number of bytes\r\n"], ids=["cut", "garbled"])
@pytest.mark.parametrize("rest", [b"", b"3", b"data: [DONE]\n\n"], ids=["nothing", "a word", "the end"])
async def test_body_that_breaks_while_its_tick_is_waited_for(
    transport: Transport, server: Server, clock: ManualClock, rest: bytes, broken: bytes
):
    """What came before is read, then the error is raised: it may have been the whole answer."""
    async with reading(transport, server) as (read, writer):
        await begun(clock, read, writer)
        if rest:
            writer.write(chunk(rest))
            await clock.settle()
        writer.write(broken)
        writer.close()  # without the end of the body
        await clock.settle()
        await clock.advance(LONG)
        await eventually(lambda: read.is_ended)
        assert b"".join(read.came) == b"12" + rest
        assert isinstance(read.error, httpx2.ReadError)


async def test_body_that_is_garbled_while_it_is_waited_for(transport: Transport, server: Server):
    """Nobody waits for what will not come."""
    async with reading(transport, server) as (read, writer):
        writer.write(chunk(b"1"))
        await eventually(lambda: read.came == [b"1"])
        writer.write(b"no number of bytes\r\n")
        await eventually(lambda: read.is_ended)
        assert isinstance(read.error, httpx2.ReadError)


async def test_connection_is_used_again_and_then_lost(
    transport: Transport, server: Server, clock: ManualClock, caplog: pytest.LogCaptureFixture
):
    """What was read of it before is well, and nothing is logged of its end."""
    reads: list[Reading] = []
    for number in range(3):
        read = Reading()
        task = asyncio.create_task(read.read(transport, server.url))
        await eventually(lambda: server.requests == number + 1)  # noqa: B023 - it is waited for here
        server.asked[0].write(CHUNKED + chunk(b"1") + END)
        await task
        reads.append(read)
    server.asked[0].transport.abort()
    await clock.settle()
    gc.collect()
    assert [(read.came, read.error) for read in reads] == [([b"1"], None)] * 3
    assert len(server.asked) == 1
    assert not caplog.records


async def test_body_that_breaks_before_anything_is_read(transport: Transport, server: Server):
    """Head, a part and the break come together."""
    read = Reading()
    task = asyncio.create_task(read.read(transport, server.url))
    writer = await server.begins()
    writer.write(CHUNKED + chunk(b"all of it"))
    writer.close()
    await task
    assert read.came == [b"all of it"]
    assert isinstance(read.error, httpx2.ReadError)


async def test_body_that_comes_faster_than_ticks_waits_on_its_way(
    transport: Transport, server: Server, clock: ManualClock
):
    """What one tick brings is bounded, and what is written faster than it is taken is not taken."""
    async with reading(transport, server) as (read, writer):
        await begun(clock, read, writer)
        piece, count = chunk(b"x" * 1000), 20_000
        writer.write(piece * count)
        ended = asyncio.create_task(writer.drain())
        await clock.settle()
        assert not ended.done()
        for _ in range(4 * count * len(piece) // READ_BYTES):
            if ended.done():
                break
            await clock.advance(LONG)
            await clock.settle()
        assert max(map(len, read.came)) < 16 * READ_BYTES
        assert len(read.came) > 10
        await cancelled(ended)


async def test_who_leaves_leaves_the_others(transport: Transport, server: Server, clock: ManualClock):
    """Its connection is closed, and their tick comes."""
    async with reading(transport, server) as (first, writer):
        await begun(clock, first, writer)
        async with reading(transport, server) as (second, other):
            other.write(chunk(b"1"))
            await eventually(lambda: second.came == [b"1"])
            other.write(chunk(b"2"))
            await clock.settle()
        assert not second.is_ended
        await clock.advance(LONG)
        assert (first.came, second.came) == ([b"1", b"2"], [b"1"])
        await eventually(lambda: server.left == 1)
