"""Bookmarks while slices are pending, over real sockets: with whatever a client was told, it comes back and has lost nothing."""

import asyncio
import random
from typing import Any

import pytest

from hub.stream.fanout import Fanout
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.stream_client import StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve

CHANNELS = ["agents", "twins"]
ROOM = "chat:lobby"


async def published(node: Node, organisation: Organisation, count: int, channel: str = "") -> None:
    """Write events, and wait until they were handed to the fan-out."""
    numbers = await node.emit(organisation.id, count, channel)
    await node.logged(organisation.id, numbers[-1])
    (feed,) = node.feeds.present
    await eventually(lambda: feed.last >= numbers[-1], what=f"position {numbers[-1]} here")


async def test_bookmark_waits_for_what_it_stands_for(
    database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
):
    """Slices that nobody writes: a pong settles what is before it. Cut after it, a client has lost nothing."""
    fanout = Fanout(1)
    async with serve(database_url, redis_url, clock, fanout=fanout) as node:
        async with node.joined(key, *CHANNELS) as first, node.joined(key, *CHANNELS) as second:
            await published(node, organisation, 3)
            pong = await first.ask({"type": "ping"})
            assert pong["position"]["offset"] == "3"
            before = [frame for frame in first.frames if frame["type"] == "event"]
            assert numbers_of(before) == [1, 2, 3]
            assert "position" in await second.ask({"type": "ping"})
        async with node.open(key) as back:
            await back.subscribe({"channel": "agents", "offset": "3"})
            await published(node, organisation, 1)
            assert numbers_of(await back.events(1)) == [4]
        assert not fanout.turn(), "nobody is here who has not had it"


@pytest.mark.parametrize("what", ["subscribe", "again", "unsubscribe", "publish", "history", "call", "restart"])
async def test_every_answer_comes_after_what_was_delivered(
    what: str, database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
):
    """What says where a channel is, or that it is over, stands behind the events up to there, and none comes twice."""
    asks: dict[str, dict[str, Any]] = {
        "subscribe": {"type": "subscribe", "channels": ["knowledge"]},
        "again": {"type": "subscribe", "channels": [{"channel": "agents", "offset": "2"}]},
        "unsubscribe": {"type": "unsubscribe", "channels": ["agents"]},
        "publish": {"type": "publish", "channel": ROOM, "data": 1},
        "history": {"type": "history", "channel": ROOM},
        "call": {"type": "call", "operation": "agents.list", "input": {}},
    }
    fanout = Fanout(1)
    async with (
        serve(database_url, redis_url, clock, fanout=fanout) as node,
        node.joined(key, *CHANNELS) as asking,
        node.joined(key, *CHANNELS),
    ):
        await published(node, organisation, 3)
        if what == "restart":
            draining = asyncio.create_task(node.door.drain(clock.monotonic()))
            answer = await asking.expect("disconnect")
            draining.cancel()
        else:
            answer = await asking.ask(asks[what])
        events = [frame for frame in asking.frames if frame["type"] == "event"]
        assert numbers_of(events) == [1, 2, 3]
        assert asking.frames.index(events[-1]) < asking.frames.index(answer)
        if what != "restart":
            while fanout.turn():
                pass
            await asking.quiet()


async def test_any_client_at_any_moment(
    database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
):
    """Clients that join, leave, ask, are cut and return with the last thing that they were told, turns by chance between."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    fanout = Fanout(rng.choice((1, 2)))
    async with serve(database_url, redis_url, clock, fanout=fanout) as node:
        travellers = [Traveller(node, key, rng) for _ in range(5)]
        try:
            for traveller in travellers:
                await traveller.come()
            last = 0
            for _ in range(60):
                match rng.randrange(6):
                    case 0 | 1:
                        last += 1
                        await published(node, organisation, 1)
                    case 2 | 3:
                        fanout.turn()
                    case 4:
                        await rng.choice(travellers).do_something()
                    case _:
                        await rng.choice(travellers).return_()
            while fanout.turn():
                pass
            for traveller in travellers:
                await traveller.ends_at(last)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
        finally:
            for traveller in travellers:
                await traveller.go()


class Traveller:
    """A client of one channel that comes and goes, and notes what it was told over all its sockets."""

    def __init__(self, node: Node, key: str, rng: random.Random) -> None:
        self.got: list[int] = []
        self._node = node
        self._key = key
        self._rng = rng
        self._offset: str | None = "0"
        self._client: StreamClient | None = None
        self._socket: Any = None
        self._read = 0

    async def come(self) -> None:
        self._socket = self._node.open(self._key)
        self._client = await self._socket.__aenter__()
        self._read = 0
        await self.client.subscribe({"channel": "agents", "offset": self._offset})

    async def go(self) -> None:
        if self._client is not None:
            self._note()
            socket, self._client = self._socket, None
            await socket.__aexit__(None, None, None)

    async def return_(self) -> None:
        await self.go()
        await self.come()

    async def do_something(self) -> None:
        match self._rng.randrange(3):
            case 0:
                await self.client.ask({"type": "ping"})
            case 1:
                await self.client.ask({"type": "subscribe", "channels": ["twins"]})
            case _:
                await self.client.ask({"type": "unsubscribe", "channels": ["agents"]})
                self._note()
                await self.client.subscribe({"channel": "agents", "offset": self._offset})

    async def ends_at(self, last: int) -> None:
        await self.client.ask({"type": "ping"})
        self._note()
        assert self.got == list(range(1, last + 1))

    @property
    def client(self) -> StreamClient:
        assert self._client is not None
        return self._client

    def _note(self) -> None:
        frames = self.client.frames[self._read :]
        self._read += len(frames)
        for frame in frames:
            match frame["type"]:
                case "event":
                    self.got += numbers_of([frame])
                    self._offset = frame["offset"]
                case "pong" if "position" in frame:
                    self._offset = frame["position"]["offset"]
                case _:
                    pass
