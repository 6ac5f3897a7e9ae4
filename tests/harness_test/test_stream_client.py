"""The reader follows the protocol: it comes back where it was, honours a reset, stays away when told to."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.harness.stream_client import Bookmark, StreamReader, open_stream
from tests.harness.waiting import eventually
from tests.harness.watcher import Watcher

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def scripted(handler: Handler) -> AsyncGenerator[str]:
    """Serve one script for each socket; give the address."""
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/v2/stream"


async def answer(socket: ServerConnection, offset: int, *, recovered: bool, channel: str = "agents") -> Any:
    """Take a subscribe frame, answer it for one channel, and return the item that the client sent."""
    frame = json.loads(await socket.recv())
    item = {"channel": channel, "offset": str(offset), "epoch": "k", "recovered": recovered}
    await socket.send(json.dumps({"type": "subscribed", "id": frame["id"], "channels": [item]}))
    return frame["channels"][0]


ENVELOPE = {
    "type": "agent.created",
    "source": "aimatrix",
    "subject": "agents/a",
    "time": "2026-01-01T00:00:00.000000Z",
    "data": {},
}


async def event(socket: ServerConnection, offset: int) -> None:
    """Send an event frame."""
    frame = {"type": "event", "channel": "agents", "offset": str(offset), "event": {**ENVELOPE, "id": f"e{offset}"}}
    await socket.send(json.dumps(frame))


async def test_reader_comes_back_after_its_last_offset():
    """The second socket says where the first one ended; both halves are one record."""
    asked: list[Any] = []

    async def script(socket: ServerConnection) -> None:
        start = 3 if not asked else 5
        asked.append(await answer(socket, start, recovered=bool(asked)))
        for offset in range(start + 1, start + 3):
            await event(socket, offset)
        if len(asked) == 1:
            await socket.close(4000)
        else:
            await socket.wait_closed()

    async with scripted(script) as url, StreamReader([url], "key", ["agents"]) as reader:
        await reader.has(["e4", "e5", "e6", "e7"])
        assert asked == ["agents", {"channel": "agents", "offset": "5", "epoch": "k"}]
        assert [each.offset for each in reader.received] == [4, 5, 6, 7]
        assert reader.start == {"agents": Bookmark(3, "k")}
        assert (reader.problems, reader.closes, reader.connections) == ([], [4000], 2)


async def test_reset_moves_the_bookmark_and_is_kept():
    """After a reset the reader goes on from the offset that the hub named."""

    async def script(socket: ServerConnection) -> None:
        await answer(socket, 9, recovered=False)
        frame = {"type": "reset", "channel": "agents", "offset": "2", "epoch": "m", "reason": "epoch"}
        await socket.send(json.dumps(frame))
        await socket.wait_closed()

    async with scripted(script) as url, StreamReader([url], "key", ["agents"]) as reader:
        await eventually(lambda: reader.resets)
        assert reader.bookmark("agents") == Bookmark(2, "m")


async def test_event_before_subscribed_is_a_problem():
    """The order of frames is part of the protocol."""

    async def script(socket: ServerConnection) -> None:
        await event(socket, 4)
        await socket.wait_closed()

    async with scripted(script) as url, StreamReader([url], "key", ["agents"]) as reader:
        await eventually(lambda: reader.problems)
        assert "event before subscribed" in reader.problems[0]


async def test_watcher_records_its_own_room_from_subscribed_on():
    """A connection is in the room of its own subject from the start; a reset may overtake the answer to subscribe."""
    own = "users:key:a"

    async def script(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "reset", "channel": own, "offset": "0", "epoch": "m", "reason": "epoch"}))
        await answer(socket, 0, recovered=False, channel=own)
        await socket.wait_closed()

    async with scripted(script) as url, Watcher([url], "key", [own]) as watcher:
        await eventually(lambda: watcher.live)
        assert [told.kind for told in watcher.told(own)] == ["joined"]
        assert watcher.problems == []


async def test_reader_stays_away_after_a_code_of_that_range():
    """4500-4999: the same attempt would fail again."""

    async def script(socket: ServerConnection) -> None:
        await socket.close(4503, "credential revoked")

    async with scripted(script) as url:
        with pytest.raises(RuntimeError, match="for good"):
            async with StreamReader([url], "key", ["agents"]) as reader:
                await eventually(lambda: reader.closes == [4503])


async def test_client_gives_the_close_code_and_matches_replies_by_id():
    """A reply is found among frames that nobody asked for."""

    async def script(socket: ServerConnection) -> None:
        asked = json.loads(await socket.recv())
        await event(socket, 1)
        await socket.send(json.dumps({"type": "pong", "id": asked["id"]}))
        await socket.close(4001, "reading too slowly")

    async with scripted(script) as url, open_stream(url, "key") as stream:
        assert (await stream.ask({"type": "ping"}))["type"] == "pong"
        assert [frame["type"] for frame in stream.frames] == ["event", "pong"]
        assert await stream.closed() == 4001
        assert stream.close_reason == "reading too slowly"
