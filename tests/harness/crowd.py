"""One organisation under faults: clients that watch, writers that write, proxies between them and the nodes, and the check.

A schedule is: join, then faults of the network by chance while all write, then rest, then the check of every client's record.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from tests.harness.checker import Checker, Totals, is_log, report
from tests.harness.event_source import EventWatcher, PollWatcher
from tests.harness.ledger import Ledger, problems_of_log
from tests.harness.live_writer import LiveWriter
from tests.harness.organisations import Organisation
from tests.harness.proxy import FaultProxies, FaultProxy, ProxiedConnection
from tests.harness.rest_client import RestClient, Writer
from tests.harness.stream_client import open_stream
from tests.harness.waiting import eventually, let_pass
from tests.harness.watcher import Watcher
from tests.harness.world import World, WorldFaults

LOG = ["agents", "knowledge", "twins"]
ROOMS = ["chat:lobby", "chat:quiet"]
# The hub's comments come every 20 to 25 s, of a clock that runs four times as fast.
SILENCE_SECONDS = 8.0
Fault = Callable[[], Awaitable[None]]
# On a machine that has little time for us everything takes long, and nothing is wrong.
PATIENCE_SECONDS = 60.0


class Crowd:
    """Clients, writers and gates of one organisation. Use as an async context manager."""

    def __init__(self, world: World, organisation: Organisation, seed: int, *, clients: int = 3) -> None:
        self.world = world
        self.seed = seed
        self.rng = random.Random(seed)
        self.gates: list[FaultProxy] = []
        self.watchers: list[Watcher] = []
        self.log: list[str] = []
        self.totals = Totals(schedules=1)
        self._organisation = organisation
        self._clients = clients
        self._proxies = FaultProxies()
        self._stack = AsyncExitStack()
        self._key = ""
        self._ledger = Ledger(organisation.database_url, organisation.id, seed)

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        self._stack.push_async_callback(self._proxies.close)
        for node in self.world.nodes:
            gate = await self._proxies.open(node.base_url)
            self.world.add_door(gate, node)
            self.gates.append(gate)
        self._key = await self._organisation.key()
        writer_key = await self._organisation.key()
        async with open_stream(self.world.nodes[0].base_url.replace("http", "ws") + "/v2/stream", self._key) as stream:
            self._own_room = f"users:{(await stream.expect('welcome'))['subject']}"
        for _ in range(self._clients):
            await self.one_more_comes()
        for watcher in self.watchers:
            await watcher.joined(within=PATIENCE_SECONDS)
        client = await self._stack.enter_async_context(RestClient("", writer_key))
        self.writer = await self._stack.enter_async_context(
            Writer(client, self.world.rest_urls, self._ledger, self.rng, pause=self.rng.choice((0.002, 0.01, 0.03)))
        )
        self.live = await self._stack.enter_async_context(
            LiveWriter(
                [gate.url("ws") + "/v2/stream" for gate in self.gates],
                writer_key,
                [*ROOMS, self._own_room],
                self._organisation.slug,
                self.rng,
                pause=self.rng.choice((0.005, 0.02, 0.05)),
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After a failure nobody finishes what he has under way: a dozen crowds would take longer than a test may.
        await self._stack.__aexit__(kind, error, trace)

    async def live_through(self, faults: int) -> None:
        """Let so many faults of the network happen, while everybody writes."""
        things = self._things()
        for _ in range(faults):
            await let_pass(self.rng.uniform(0, 0.08))
            name = self.rng.choice(list(things))
            self.log.append(name)
            self.totals.faults += 1
            await things[name]()
            self.writer.check()
            self.live.check()

    async def rest(self, *, within: float = 20.0) -> None:
        """Stop the writers, heal the network, and wait until every client has come to the end of each channel."""
        for gate in self.gates:
            self._heal(gate)
        await self.writer.stop()
        await self.live.stop()
        await self._ledger.settle(within=within)
        ends = await self.live.last_of_each(within=within)
        for watcher in self.watchers:
            for channel in watcher.channels:
                await self._has_come_to_the_end(watcher, channel, ends, within)

    def check(self) -> None:
        """Check what everybody was told. Raises AssertionError with the seed and what was done."""
        books = self._ledger
        problems = problems_of_log(books.acknowledged, books.log, uncertain=books.uncertain)
        epochs = {told.epoch for watcher in self.watchers for told in watcher.record if is_log(told.channel)}
        checker = Checker(
            dict.fromkeys(epochs, books.log) if len(epochs) == 1 else {},
            self.live.books,
            live_may_reset=self.world.live_may_reset,
        )
        checker.check(self.watchers)
        if len(epochs) > 1:
            problems.append(f"the log has not begun anew, but its clients were told of {epochs}")
        report([*problems, *checker.problems], self.seed, [*self.log, "around them:", *self.world.log])
        self.totals.add(checker.totals)
        self.totals.sent += len(books.log) + len(self.live.books.placed)
        self.totals.uncertain += books.uncertain + self.live.books.uncertain

    async def one_more_comes(self) -> None:
        """Let a client more come, from now on, to some of the channels."""
        channels = [*self.rng.sample(LOG, self.rng.randrange(1, 4)), *self.rng.sample(ROOMS, self.rng.randrange(1, 3))]
        if self.rng.random() < 0.5:
            channels.append(self._own_room)
        urls = [gate.url("ws") + "/v2/stream" for gate in self.gates]
        self.rng.shuffle(urls)
        compression = self.rng.choice((None, "deflate"))
        watcher = self._watcher(urls, channels, compression)
        await self._stack.enter_async_context(watcher)
        self.watchers.append(watcher)

    def _watcher(self, urls: list[str], channels: list[str], compression: str | None) -> Watcher:
        """Return one that comes by socket, by server-sent events, or by long polling."""
        way = self.rng.random()
        if way < 0.6:
            return Watcher(urls, self._key, channels, heartbeat=0.5, compression=compression)
        if way < 0.8:
            return EventWatcher(urls, self._key, channels, silence=SILENCE_SECONDS)
        return PollWatcher(urls, self._key, channels, wait=1)

    def _things(self) -> Mapping[str, Fault]:
        things = [
            self.one_is_cut,
            self.one_ends_in_a_frame,
            self.one_stalls,
            self.one_falls_silent,
            self.one_is_slow,
            self.one_is_late,
            self.all_are_cut,
            self.a_gate_is_shut,
            self.nothing_happens,
        ]
        found: dict[str, Fault] = {thing.__name__: thing for thing in things}
        if len(self.watchers) < 2 * self._clients:
            found["one_more_comes"] = self.one_more_comes
        return found

    async def one_is_cut(self) -> None:
        """A connection is gone."""
        for connection in self._some():
            connection.cut(self.rng.choice(("rst", "fin")))

    async def one_ends_in_a_frame(self) -> None:
        """A connection ends after so many bytes more, wherever that is; so does the next one."""
        for connection in self._some():
            connection.down.cut_after(self.rng.randrange(1, 2000), self.rng.choice(("rst", "fin")))
            if self.rng.random() < 0.3:
                connection.up.cut_after(self.rng.randrange(1, 200))

    async def one_stalls(self) -> None:
        """Nothing arrives for a while, then all of it."""
        for connection in self._some():
            ways = self.rng.choice(((connection.down,), (connection.up,), (connection.down, connection.up)))
            for way in ways:
                way.freeze()
            await let_pass(self.rng.uniform(0.02, 0.4))
            for way in ways:
                way.thaw()

    async def one_falls_silent(self) -> None:
        """A half-open connection: nothing arrives, nothing ends; the client must notice."""
        for connection in self._some():
            connection.down.freeze()
            connection.up.freeze()

    async def one_is_slow(self) -> None:
        """A thousand bytes a second."""
        for connection in self._some():
            connection.down.rate = 1000
            await let_pass(self.rng.uniform(0.05, 0.4))
            connection.down.rate = None

    async def one_is_late(self) -> None:
        """Every piece arrives later."""
        for connection in self._some():
            connection.down.delay = connection.up.delay = self.rng.uniform(0.001, 0.05)

    async def all_are_cut(self) -> None:
        """All come back at once."""
        for gate in self.gates:
            gate.cut_all(self.rng.choice(("rst", "fin")))

    async def a_gate_is_shut(self) -> None:
        """A node cannot be reached; its connections are gone."""
        gate = self.rng.choice(self.gates)
        await gate.refuse()
        gate.cut_all()
        await let_pass(self.rng.uniform(0.02, 0.3))
        await gate.accept()

    async def nothing_happens(self) -> None:
        """A while without a fault."""
        await let_pass(self.rng.uniform(0.05, 0.3))

    def _some(self) -> list[ProxiedConnection]:
        alive = [connection for gate in self.gates for connection in gate.alive]
        return [self.rng.choice(alive)] if alive else []

    def _heal(self, gate: FaultProxy) -> None:
        gate.on_connect = None
        for connection in gate.alive:
            for way in (connection.up, connection.down):
                way.rate, way.delay = None, 0.0
                way.thaw()

    async def _has_come_to_the_end(
        self, watcher: Watcher, channel: str, ends: Mapping[str, tuple[str, int]], within: float
    ) -> None:
        def is_there() -> bool:
            if is_log(channel):
                mark = watcher.bookmark(channel)
                last = max((each.position for each in self._ledger.log if each.belongs_to(channel)), default=0)
                return watcher.live and (mark.offset or 0) >= last
            return watcher.live and watcher.is_at(channel, *ends[channel])

        try:
            await eventually(is_there, within=within, every=0.01)
        except AssertionError:
            mark, end = watcher.bookmark(channel), ends.get(channel)
            what = f"{channel}: {mark} is not at the end ({end or self._ledger.log[-1].position}) within {within} s"
            history = [str(each) for each in watcher.told(channel)[-5:]]
            report(
                [what, f"closes: {watcher.closes[-5:]}", *watcher.problems, *history],
                self.seed,
                [*self.log, "around them:", *self.world.log],
            )


async def schedules(
    world: World, crowds: list[Crowd], rng: random.Random, *, faults: int, around: int, within: float = PATIENCE_SECONDS
) -> Totals:
    """Let the crowds live through faults of their networks, and all of them through faults of nodes and engines; check."""
    totals = Totals()
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(crowd) for crowd in crowds))
        async with asyncio.TaskGroup() as group:
            for crowd in crowds:
                group.create_task(crowd.live_through(faults))
            group.create_task(_happen(world, rng, around))
        await world.healed()
        async with asyncio.TaskGroup() as group:
            for crowd in crowds:
                group.create_task(crowd.rest(within=within))
        for crowd in crowds:
            crowd.check()
            totals.add(crowd.totals)
    totals.faults += around
    world.forget_doors()
    report([*world.errors(), *(f"background task died: {each}" for each in world.deaths)], crowds[0].seed, world.log)
    return totals


async def _happen(world: World, rng: random.Random, count: int) -> None:
    faults = WorldFaults(world, rng).by_name()
    for _ in range(count):
        await let_pass(rng.uniform(0.02, 0.15))
        name = rng.choice(list(faults))
        await world.happen(name, faults[name])
