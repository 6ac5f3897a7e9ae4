"""The generators see what is wrong: a gap, a client that was not recovered, a frame that was refused."""

import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.generator import GeneratorFailed, Generators, build_generators, hub_joining, joined
from benchmarks.job import Crowd
from benchmarks.programs import started
from benchmarks.server import ServerProcess

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]
SUBSCRIBED = '{"type":"subscribed"}'

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="the generators are C programs")


@pytest.fixture
def generators(tmp_path: Path) -> Generators:
    return build_generators(tmp_path)


@asynccontextmanager
async def serving(talk: Talk) -> AsyncGenerator[ServerProcess]:
    """Serve sockets that do as `talk` says."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await talk(socket)
        return socket

    app = web.Application()
    app.router.add_get("/v2/stream", handle)
    async with TestServer(app) as served:
        address = ServerProcess((), cores=None, environment={}, log=Path())
        address.host, address.port = str(served.host), served.port or 0
        yield address


def saying(*frames: str) -> Talk:
    """Answer the first frame with these; then read to the end."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        for frame in frames:
            await socket.send_str(frame)
        async for _ in socket:
            pass

    return talk


def event(offset: int) -> str:
    return f'{{"type":"event","channel":"agents","offset":"{offset}","event":{{}}}}'


async def test_offsets_that_rise_by_one_are_the_numbers(generators: Generators):
    """From wherever they begin."""
    async with (
        serving(saying(SUBSCRIBED, event(7), event(8))) as server,
        joined(generators, server, hub_joining("key"), Crowd(3), seconds=30, is_dense=True) as members,
    ):
        assert [(await members.next()).index for _ in range(2)] == [7, 8]


async def test_gap_ends_the_run(generators: Generators):
    """Nothing is measured of a server that loses something."""
    async with serving(saying(SUBSCRIBED, event(7), event(9))) as server:
        with pytest.raises(GeneratorFailed, match="offset 9 came after 7"):
            async with joined(generators, server, hub_joining("key"), Crowd(1), seconds=30, is_dense=True) as members:
                for _ in range(3):
                    await members.next()


def storm_job(server: ServerProcess, clients: int, events: int) -> list[tuple[str, Any]]:
    return [
        ("host", server.host),
        ("port", str(server.port)),
        ("clients", str(clients)),
        ("events", str(events)),
        ("refused", '"recovered":false'),
        *hub_joining("key").records(server.address),
    ]


async def test_storm_counts_who_was_not_recovered_and_who_was_sent_away(generators: Generators):
    """Both have failed; the others are done when all that they missed has come."""
    came = iter(range(6))

    async def talk(socket: web.WebSocketResponse) -> None:
        number = next(came)
        answer = '{"type":"subscribed","recovered":false}' if number == 0 else SUBSCRIBED
        await socket.receive()
        if number == 1:
            await socket.close(code=4005)
        else:
            for frame in (answer, event(1), event(2)):
                await socket.send_str(frame)
            async for _ in socket:
                pass

    async with serving(talk) as server, started(generators, "storm", storm_job(server, 6, 2)) as program:
        program.begin()
        done, failed, _, _, count, p50, p99, most = await program.numbers(30)
    assert (done, failed, count) == (4, 2, 4)
    assert 0 < p50 <= p99 <= most


async def test_refused_frame_ends_inbound(generators: Generators):
    """A limit that refuses would look like speed."""

    async def talk(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            refused = '{"type":"error","error":{"code":"RATE_LIMIT_EXCEEDED"}}'
            await socket.send_str(SUBSCRIBED if "subscribe" in message.data else refused)

    async with serving(talk) as server:
        records: list[tuple[str, Any]] = [
            ("host", server.host),
            ("port", str(server.port)),
            ("clients", "2"),
            *hub_joining("key").records(server.address),
            ("publish", '{"type":"publish","data":"#NNNNNNNN#"}'),
            ("answer", '{"type":"result"'),
            ("measure_ms", "1000"),
        ]
        with pytest.raises(GeneratorFailed, match="RATE_LIMIT_EXCEEDED"):
            async with started(generators, "inbound", records) as program:
                program.begin()
                for _ in range(2):
                    await program.line(30)
