"""Random schedules: whoever has a view folds what it is told into the states that a plain reader has, whatever happens between.

Readers join, leave, are cut, come back with the last thing that they were told, and read slowly; slices are written by chance.
"""

import random
from typing import Any

import orjson
import pytest

from hub.stream.fanout import Fanout
from rooms.filters import parse_filter
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.stream_client import Frame, StreamClient
from tests.hub.stream.node import Node, serve
from tests.hub.stream.resources import Fold, World

STEPS = 120
TYPES = ("logistics", "factory")
FILTERS: tuple[Any, ...] = (
    None,
    {"type": "logistics"},
    {"$or": [{"load": {"$gte": 5}}, {"nested.on": True}]},
    {"type": {"$in": ["factory"]}, "load": {"$not": {"$lt": 3}}},
)


class Reader:
    """Holds states over all its sockets. It begins with what a list would say, after it has joined."""

    def __init__(self, world: World, key: str, rng: random.Random, options: dict[str, Any], channel: str) -> None:
        self.fold = Fold()
        self.options = options
        self.channel = channel
        self._world = world
        self._key = key
        self._rng = rng
        self._client: StreamClient | None = None
        self._socket: Any = None
        self._read = 0
        self._offset: str | None = None
        self._filter = None if options.get("filter") is None else parse_filter(options["filter"])

    def wants(self, state: Any) -> bool:
        return self._filter is None or self._filter.matches({"data": state})

    async def come(self) -> None:
        """Join, after the last thing that it was told."""
        self._socket = self._world.node.open(self._key)
        client: StreamClient = await self._socket.__aenter__()
        self._client, self._read = client, 0
        self.fold.anew()
        item: dict[str, Any] = {"channel": self.channel, **self.options}
        is_new = self._offset is None
        if not is_new:
            item["offset"] = self._offset
        answer = await client.subscribe(item)
        if is_new:
            self._offset = answer["channels"][0]["offset"]
            # Read as REST would answer, later than `subscribed`.
            states = {id: state for id, state in self._world.states.items() if self.wants(state)}
            self.fold.states = orjson.loads(orjson.dumps(states))

    async def look(self) -> None:
        """Take what has come, up to where everything was sent."""
        assert self._client is not None
        pong = await self._client.ask({"type": "ping"})
        for frame in self._client.frames[self._read :]:
            self._take(frame)
        self._read = len(self._client.frames)
        if "position" in pong:
            self._offset = pong["position"]["offset"]

    def _take(self, frame: Frame) -> None:
        if frame["type"] != "event":
            return
        assert frame["channel"] == self.channel
        self._offset = frame["offset"]
        self.fold.take(frame)

    async def go(self) -> None:
        """Be cut, and have read some of what was there."""
        if self._client is None:
            return
        frames = self._client.frames
        for frame in frames[self._read : self._read + self._rng.randrange(1 + len(frames) - self._read)]:
            self._take(frame)
        self._client.socket.transport.abort()
        await self._socket.__aexit__(None, None, None)
        self._client = None

    async def ends_with(self, states: dict[str, Any]) -> None:
        """Check that it holds what there is, of what it wants, and that nothing came twice or out of order."""
        await self.look()
        wanted = {id: state for id, state in states.items() if self.wants(state)}
        assert self.fold.states == wanted, self.options
        assert self.fold.positions == sorted(set(self.fold.positions)), self.options


async def change_something(world: World, rng: random.Random) -> None:
    """Create, change or delete a twin."""
    ids = list(world.states)
    if not ids or rng.random() < 0.15:
        await world.create(type=rng.choice(TYPES), load=rng.randrange(9), text="x" * rng.choice((10, 300)), nested={})
        return
    id = rng.choice(ids)
    if rng.random() < 0.1:
        await world.delete(id)
        return
    changes: dict[str, Any] = rng.choice(
        (
            {"type": rng.choice(TYPES)},
            {"load": rng.choice((rng.randrange(9), None))},
            {"nested": {"on": rng.random() < 0.5, "list": [rng.randrange(3) for _ in range(rng.randrange(4))]}},
            {"text": rng.choice("yz") * 200, "load": 5.0},
        )
    )
    await world.update(id, **changes)


async def any_schedule(world: World, fanout: Fanout, key: str, rng: random.Random) -> list[Reader]:
    """Let things happen; return the readers."""
    # Several of each view with deltas: they share it, and do not come at the same time.
    options = [{"filter": wanted, "delta": delta} for wanted in FILTERS for delta in (False, True, True, True)]
    readers = [Reader(world, key, rng, each, rng.choice(("twins", "twins", "twins:*"))) for each in options]
    try:
        for reader in readers:
            if rng.random() < 0.3:
                await change_something(world, rng)
            await reader.come()
        for _ in range(STEPS):
            match rng.randrange(8):
                case 0:
                    reader = rng.choice(readers)
                    await reader.go()
                    await reader.come()
                case 1:
                    await rng.choice(readers).look()
                case 2 | 3:
                    fanout.turn()
                case _:
                    await change_something(world, rng)
        await world.handed_out()
        for reader in readers:
            await reader.ends_with(world.states)
    finally:
        for reader in readers:
            await reader.go()
    return readers


@pytest.mark.parametrize("round", range(3))
async def test_every_reader_holds_what_there_is(
    round: int, database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
):
    """With any filter, by deltas or not, through any of the two names."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    fanout = Fanout(rng.choice((1, 2, 1_000)))
    try:
        async with serve(database_url, redis_url, clock, fanout=fanout) as node:
            readers = await any_schedule(World(node, organisation.id), fanout, key, rng)
    except AssertionError as error:
        error.add_note(f"seed {seed}")
        raise
    assert sum(reader.fold.patched for reader in readers), "nothing was told by what changed"
    assert sum(reader.fold.left for reader in readers), "nothing has left"


async def test_reader_that_does_not_read_gets_the_same(
    database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation, node: Node
):
    """What waits for it is written later, and is what it was."""
    world = World(node, organisation.id)
    async with node.open(key, max_queue=1) as slow:
        await slow.subscribe({"channel": "twins", "delta": True})
        id = await world.create(text="x" * 20_000, n=0)
        for number in range(60):
            await world.update(id, n=number, text=("y" if number % 20 else "z") * 20_000)
        await world.handed_out()
        fold = Fold()
        for _ in range(61):
            fold.take(await slow.expect("event"))
        assert fold.states == world.states
        assert fold.patched > 10
