"""Answers that come part by part, over real sockets: who reads slowly is waited for, who leaves is noticed, an end is told."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from core.errors import HubError
from core.operations.results import Item, Streamed
from rest.asked import Answer
from rest.sse import KEEPALIVE_SECONDS, LOOK_SECONDS, STOPPING_SECONDS, ServerSentEvents
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually


@dataclass
class Source:
    """What a stream has: `items`, then `error`; it stands still before an item where there is a gate, and where it ends likewise.

    `sending` is the task of the last request.
    """

    items: list[Item] = field(default_factory=lambda: [Item("one", "{}"), Item("two", "{}")])
    error: Exception | None = None
    gate: asyncio.Event | None = None
    end_gate: asyncio.Event | None = None
    ready: bool = True
    sending: asyncio.Task[object] | None = None
    made: int = 0
    is_closed: bool = False
    url: str = ""

    async def parts(self) -> AsyncGenerator[Item]:
        try:
            for item in self.items:
                if self.made and self.gate is not None:
                    await self.gate.wait()
                self.made += 1
                yield item
            if self.error is not None:
                raise self.error
        finally:
            if self.end_gate is not None:
                await self.end_gate.wait()
            self.is_closed = True


@pytest.fixture
async def source(clock: ManualClock) -> AsyncIterator[Source]:
    made = Source()
    events = ServerSentEvents(clock, lambda: made.ready)

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        made.sending = asyncio.current_task()
        try:
            return await events.send(request, Answer(200, headers), Streamed(made.parts()), "req_1")
        except HubError as error:
            return web.Response(status=error.status)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    for gate in (made.gate, made.end_gate):
        if gate is not None:
            gate.set()
    await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_parts_are_events(source: Source, client: aiohttp.ClientSession):
    async with client.post(source.url) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert (response.headers["Cache-Control"], response.headers["X-Accel-Buffering"]) == ("no-store", "no")
        assert await response.read() == b"event: one\ndata: {}\n\nevent: two\ndata: {}\n\n"
    assert source.is_closed


async def test_part_is_sent_when_it_is_made(source: Source, client: aiohttp.ClientSession, clock: ManualClock):
    """And a comment keeps the connection alive meanwhile."""
    source.gate = asyncio.Event()
    async with client.post(source.url) as response:
        assert await response.content.readuntil(b"\n\n") == b"event: one\ndata: {}\n\n"
        await eventually(lambda: clock.sleeping > 0)
        await clock.advance(KEEPALIVE_SECONDS + LOOK_SECONDS)
        assert await response.content.readuntil(b"\n\n") == b": keepalive\n\n"
        source.gate.set()
        assert await response.read() == b"event: two\ndata: {}\n\n"


async def test_error_before_the_first_part_has_a_status(source: Source, client: aiohttp.ClientSession):
    source.items, source.error = [], HubError("RESOURCE_CONFLICT")
    async with client.post(source.url) as response:
        assert response.status == 409


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HubError("BAD_GATEWAY"), "BAD_GATEWAY"),
        (RuntimeError("a secret"), "INTERNAL_ERROR"),
        (OSError("x"), "INTERNAL_ERROR"),
    ],
)
async def test_error_after_it_is_an_event(source: Source, client: aiohttp.ClientSession, error: Exception, code: str):
    """The last one, with the error object."""
    source.error = error
    async with client.post(source.url) as response:
        *_, name, data, _, _ = (await response.read()).decode().split("\n")
    assert name == "event: error"
    told = orjson.loads(data.removeprefix("data: "))["error"]
    assert (told["code"], told["request_id"]) == (code, "req_1")
    assert "secret" not in data


async def test_client_that_leaves_ends_the_parts(source: Source, client: aiohttp.ClientSession, clock: ManualClock):
    """Within a look, though nothing is sent meanwhile."""
    source.gate = asyncio.Event()
    response = await client.post(source.url)
    await response.content.readuntil(b"\n\n")
    response.close()

    async def ended() -> bool:
        await clock.advance(LOOK_SECONDS)
        return source.is_closed

    await eventually(ended)


async def test_nothing_is_made_ahead_of_a_slow_client(source: Source, client: aiohttp.ClientSession):
    """What the sockets hold, and no more; and nothing goes on when the client has left."""
    source.items = [Item("part", f'"{"x" * (1 << 16)}"')] * 2000
    response = await client.post(source.url)
    for _ in range(50):
        await response.content.readuntil(b"\n\n")
    assert source.made < 50 + 500
    response.close()
    await eventually(lambda: source.is_closed)


async def test_slow_client_gets_the_parts_and_no_comments(
    source: Source, client: aiohttp.ClientSession, clock: ManualClock
):
    """What waits for it keeps its connection alive; a node that stops meanwhile does not end what it can take yet."""
    source.items = [Item("part", f'"{"x" * (1 << 16)}"')] * 500
    async with client.post(source.url) as response:
        await response.content.readuntil(b"\n\n")
        made = await stands_still(source, clock)
        source.ready = False
        await clock.advance(10 * KEEPALIVE_SECONDS)
        assert source.made == made < 500
        source.ready = True
        rest = await response.read()
    assert rest.count(b"event: part\n") == 499
    assert b": keepalive" not in rest


async def stands_still(source: Source, clock: ManualClock) -> int:
    """Wait until nothing more is made, since nothing more is taken; return how much was."""
    seen = 0

    async def same() -> bool:
        nonlocal seen
        before, seen = seen, source.made
        await clock.settle()
        return seen == before

    await eventually(same, every=0.1)
    return seen


async def test_client_that_leaves_while_a_part_waits_for_it(
    source: Source, client: aiohttp.ClientSession, clock: ManualClock
):
    """It has left, nothing has failed."""
    source.items = [Item("part", f'"{"x" * (1 << 16)}"')] * 500
    with capture_logs() as logs:
        response = await client.post(source.url)
        await response.content.readuntil(b"\n\n")
        await stands_still(source, clock)
        response.close()
        await eventually(lambda: source.is_closed)
    assert not logs
    assert clock.sleeping == 0


async def test_parts_that_fail_while_a_comment_is_due(
    source: Source, client: aiohttp.ClientSession, clock: ManualClock
):
    """In the turn in which the connection is looked after: the error is told, once."""
    source.gate, source.error = asyncio.Event(), HubError("BAD_GATEWAY")
    source.items = [Item("one", "{}"), Item("two", "{}")]
    async with client.post(source.url) as response:
        await response.content.readuntil(b"\n\n")
        await eventually(lambda: clock.sleeping > 0)
        source.gate.set()
        await clock.advance(KEEPALIVE_SECONDS + LOOK_SECONDS)
        text = await response.read()
    assert text.count(b"event: error\n") == 1
    assert clock.sleeping == 0


async def test_request_that_is_ended_twice_while_its_parts_end(
    source: Source, client: aiohttp.ClientSession, clock: ManualClock
):
    """Parts may take a moment to end; who ends the request does not wait for that, and closes nothing that runs."""
    source.gate, source.end_gate = asyncio.Event(), asyncio.Event()
    async with client.post(source.url) as response:
        await response.content.readuntil(b"\n\n")
        await eventually(lambda: clock.sleeping > 0)
        sending = source.sending
        assert sending is not None
        for _ in range(2):
            sending.cancel()
            await clock.settle()
        await eventually(sending.done)
        assert sending.cancelled()
        assert not source.is_closed
        source.end_gate.set()
        await eventually(lambda: source.is_closed)


async def test_node_that_stops_says_so(source: Source, client: aiohttp.ClientSession, clock: ManualClock):
    """A stream has a moment to come to its end, then it is told to be asked for again."""
    source.gate = asyncio.Event()
    async with client.post(source.url) as response:
        await response.content.readuntil(b"\n\n")
        await eventually(lambda: clock.sleeping > 0)
        source.ready = False
        for _ in range(int(STOPPING_SECONDS / LOOK_SECONDS) + 2):
            await clock.advance(LOOK_SECONDS)
        text = await response.read()
    assert text.startswith(b"event: error\n")
    assert b"SERVICE_UNAVAILABLE" in text
    assert source.is_closed
