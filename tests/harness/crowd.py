"""One organisation under faults: clients that watch, writers that write, proxies between them and the nodes, and the check.

A schedule is: join, then faults of the network by chance while all write, then rest, then the check of every client's record, and
of who was seen to be there.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from tests.harness.attendance import Attendance
from tests.harness.checker import Checker, is_log, report
from tests.harness.comers import ROOMS, SOCKET_SECONDS, Comers
from tests.harness.ledger import Ledger, problems_of_log
from tests.harness.live_writer import LiveWriter
from tests.harness.network_faults import NetworkFaults
from tests.harness.organisations import Organisation
from tests.harness.proxy import FaultProxies, FaultProxy
from tests.harness.redis_faults import Fault
from tests.harness.rest_client import RestClient, Writer
from tests.harness.sdk_watchers import SdkWatcher
from tests.harness.totals import Totals
from tests.harness.views import PLAIN, due_of
from tests.harness.waiting import eventually, let_pass
from tests.harness.watcher import Watcher
from tests.harness.world import World, WorldFaults

# On a machine that has little time for us everything takes long, and nothing is wrong.
PATIENCE_SECONDS = 60.0


class Crowd:
    """Clients, writers and gates of one organisation; a client comes by each of `ways`. Use as an async context manager.

    With `is_attended` people come and go in a room, and it is checked who is seen there.
    """

    def __init__(
        self, world: World, organisation: Organisation, seed: int, ways: Sequence[str], *, is_attended: bool = True
    ) -> None:
        self.world = world
        self.seed = seed
        self.rng = random.Random(seed)
        self.gates: list[FaultProxy] = []
        self.watchers: list[Watcher | SdkWatcher] = []
        self.log: list[str] = []
        self.totals = Totals(schedules=1)
        self._organisation = organisation
        self._ways = ways
        self._is_attended = is_attended
        self._attendance: Attendance | None = None
        self._proxies = FaultProxies()
        self._network = NetworkFaults(self.gates, self.rng)
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
        await self._people_come()
        writer_key = await self._organisation.key()
        client = await self._stack.enter_async_context(RestClient("", writer_key))
        self.writer = await self._stack.enter_async_context(
            Writer(client, self.world.rest_urls, self._ledger, self.rng, pause=self.rng.choice((0.002, 0.01, 0.03)))
        )
        self.live = await self._stack.enter_async_context(
            LiveWriter(
                self._streams(),
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

    async def _people_come(self) -> None:
        self._subject, key = await self._organisation.named_key()
        self._own_room = f"users:{self._subject}"
        self._comers = Comers(self.gates, key, self._own_room, self.rng, self.world.client_clock())
        for way in self._ways:
            await self._one_comes(self._comers.make(way))
        for watcher in self.watchers:
            await watcher.joined(within=PATIENCE_SECONDS)
        if self._is_attended:
            made = Attendance(self._streams(), ROOMS[0], self.rng, heartbeat=SOCKET_SECONDS)
            self._attendance = await self._stack.enter_async_context(made)
            await made.open(self._organisation)

    def _streams(self) -> list[str]:
        return [gate.url("ws") + "/v2/stream" for gate in self.gates]

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
        self._network.heal()
        await self.writer.stop()
        await self.live.stop()
        await self._ledger.settle(within=within)
        ends = await self.live.last_of_each(within=within)
        for watcher in self.watchers:
            for channel in watcher.channels:
                await self._has_come_to_the_end(watcher, channel, ends, within)
        await self._all_see_who_is_there(within)

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
        if self._attendance is not None:
            problems += self._attendance.check(checker.totals)
        if len(epochs) > 1:
            problems.append(f"the log has not begun anew, but its clients were told of {epochs}")
        self._report([*problems, *checker.problems])
        self.totals.add(checker.totals)
        self.totals.sent += len(books.log) + len(self.live.books.placed)
        self.totals.uncertain += books.uncertain + self.live.books.uncertain

    async def one_more_comes(self) -> None:
        """Let a client more come, from now on, to some of the channels."""
        await self._one_comes(self._comers.by_chance())

    async def _one_comes(self, watcher: Watcher | SdkWatcher) -> None:
        await self._stack.enter_async_context(watcher)
        self.watchers.append(watcher)

    def _things(self) -> Mapping[str, Fault]:
        found = dict(self._network.by_name())
        if self._attendance is not None:
            found["someone_comes"] = self._attendance.someone_comes
            found["someone_goes"] = self._attendance.someone_goes
        if len(self.watchers) < 2 * len(self._ways):
            found["one_more_comes"] = self.one_more_comes
        return found

    async def _all_see_who_is_there(self, within: float) -> None:
        if self._attendance is None:
            return
        is_there = any(ROOMS[0] in watcher.channels for watcher in self.watchers)
        try:
            await self._attendance.rest([self._subject] if is_there else [], within=within)
        except AssertionError as error:
            self._report([f"presence: {error}"])

    def _report(self, problems: Sequence[str]) -> None:
        report(problems, self.seed, [*self.log, "around them:", *self.world.log])

    async def _has_come_to_the_end(
        self, watcher: Watcher | SdkWatcher, channel: str, ends: Mapping[str, tuple[str, int]], within: float
    ) -> None:
        end = self._end_of_log(watcher, channel) if is_log(channel) else ends[channel]

        def is_there() -> bool:
            if isinstance(end, int):
                return watcher.live and (watcher.bookmark(channel).offset or 0) >= end
            return watcher.live and watcher.is_at(channel, *end)

        try:
            await eventually(is_there, within=within, every=0.01)
        except AssertionError:
            mark = watcher.bookmark(channel)
            view = watcher.views.get(channel, PLAIN).options
            what = f"{watcher.way}, {channel} {view}: {mark} is not at the end ({end}) within {within} s"
            history = [str(each) for each in watcher.told(channel)[-5:]]
            self._report([what, f"closes: {watcher.closes[-10:]}", *watcher.problems, *history])

    def _end_of_log(self, watcher: Watcher | SdkWatcher, channel: str) -> int:
        """Return the position of the last event of a channel that the watcher must be shown."""
        due = due_of(watcher.views.get(channel, PLAIN), self._ledger.log, channel, after=0)
        return max(due.must, default=0)


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
