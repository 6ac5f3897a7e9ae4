"""What clients of the stream see while a node gives things up: named refusals with a time, and the log as ever."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import orjson
import pytest
from websockets.exceptions import InvalidStatus

from core.pressure import Part, Pressure
from hub.overload.watch import SCALES
from hub.stream.counts import StreamCounts
from hub.stream.fanout import Fanout
from hub.stream.gate import Gate
from hub.stream.returns import MAX_SLOT_SECONDS, NotNowError, Returns
from hub.stream.settings import StreamSettings
from rooms.live_rules import LIVE, TELEMETRY
from rooms.live_wire import LiveEntry
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.stream_client import StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve
from tests.hub.stream.peers import peers
from tests.hub.stream.test_telemetry import a_twin, parts, room

CALM = dict.fromkeys(SCALES, 0.0)
LEVELS = {Part.NONE: 0.0, Part.DEBUG: 0.2, Part.PRESENCE: 0.4, Part.LATEST: 0.6, Part.JOINS: 1.0, Part.PUBLISHES: 2.0}


def press(pressure: Pressure, part: Part) -> None:
    """Have everything up to `part` given up, as the loop's lag does."""
    pressure.look({**CALM, "lag": LEVELS[part]})


def heats(client: StreamClient) -> list[float]:
    """Return the values that have come."""
    events = [each["event"] for each in client.frames if each["type"] == "event"]
    return [each["data"]["metrics"]["heat"]["value"] for each in events]


async def relieve(pressure: Pressure, clock: ManualClock) -> None:
    """Let it all come back."""
    for _ in range(2 * len(Part)):
        pressure.look(CALM)
        await clock.advance(2.1)
    assert pressure.level is Part.NONE


@pytest.fixture
def pressure(clock: ManualClock) -> Pressure:
    return Pressure(clock, SCALES)


@pytest.fixture
async def node(database_url: str, redis_url: str, clock: ManualClock, pressure: Pressure) -> AsyncIterator[Node]:
    async with serve(database_url, redis_url, clock, pressure=pressure, twins=parts) as served:
        yield served


class TestJoins:
    """Handshakes, and channels of sockets that are open."""

    async def test_handshake_of_a_program_is_refused_with_a_slot(
        self, node: Node, key: str, pressure: Pressure, clock: ManualClock
    ):
        """503 and Retry-After, each time later; afterwards it is taken."""
        press(pressure, Part.JOINS)
        slots: list[int] = []
        for _ in range(3):
            with pytest.raises(InvalidStatus) as refused:
                async with node.open(key):
                    pass
            assert refused.value.response.status_code == 503
            slots.append(int(refused.value.response.headers["Retry-After"]))
        assert min(slots) >= 3
        assert node.door.counts.handshakes_refused == 3
        await relieve(pressure, clock)
        async with node.open(key) as client:
            await client.expect("welcome")

    async def test_page_is_told_in_a_frame(self, node: Node, key: str, pressure: Pressure):
        """It sees no status: `disconnect` with its slot, then 4007, which comes back. Before any credential is looked at."""
        press(pressure, Part.JOINS)
        slots: list[int] = []
        for credential in (key, "nobody's"):
            async with node.open(credential, origin=f"http://127.0.0.1:{node.port}") as client:
                away = await client.receive()
                assert (away["type"], away["code"], away["reconnect"]) == ("disconnect", 4007, True)
                slots.append(away["after_ms"])
                assert await client.closed() == 4007
        assert 3000 <= slots[0] < slots[1]
        await eventually(lambda: node.door.connections == 0)
        with pytest.raises(InvalidStatus) as refused:
            async with node.open(key, origin="http://evil.example"):
                pass
        assert refused.value.response.status_code == 503

    async def test_stream_of_events_is_told_in_an_event(self, node: Node, key: str, pressure: Pressure):
        """A browser's EventSource comes back by itself only from an answer that is none; a program sees the status."""
        press(pressure, Part.JOINS)
        url = f"http://127.0.0.1:{node.port}/v2/stream/events?channels=agents"
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(url, headers={"Accept": "text/event-stream"}) as told:
                lines = (await told.text()).splitlines()
                assert told.status == 200
            assert int(lines[0].removeprefix("retry: ")) >= 3000
            away = orjson.loads(lines[2].removeprefix("data: "))
            assert (lines[1], away["type"], away["code"]) == ("event: disconnect", "disconnect", 4007)
            async with session.get(url.replace("events", "poll")) as refused:
                assert (refused.status, int(refused.headers["Retry-After"]) >= 3) == (503, True)
        assert node.door.connections == 0

    async def test_open_socket_keeps_what_it_has(
        self, node: Node, key: str, organisation: Organisation, pressure: Pressure, clock: ManualClock
    ):
        """New channels are refused by name, with a time; those that it has are answered, and their events come."""
        async with node.joined(key, "agents", "chat:a") as client:
            press(pressure, Part.JOINS)
            answer = await client.subscribe("agents", "twins", {"channel": "chat:b"}, "nope:1")
            by_channel = {each["channel"]: each for each in answer["channels"]}
            assert by_channel["agents"]["offset"] == "0"
            for channel in ("twins", "chat:b"):
                assert by_channel[channel]["error"]["code"] == "SERVICE_UNAVAILABLE"
                assert by_channel[channel]["error"]["retry_after"] >= 3
            assert by_channel["nope:1"]["error"]["code"] == "CHANNEL_NOT_FOUND"
            numbers = await node.emit(organisation.id, 20)
            assert numbers_of(await client.events(20)) == numbers
            assert (await client.ask({"type": "publish", "channel": "chat:a", "data": 1}))["type"] == "result"
            assert (await client.ask({"type": "history", "channel": "chat:a"}))["type"] == "result"
            called = await client.ask({"type": "call", "operation": "agents.create", "input": {"name": "Ada"}})
            assert called["type"] == "result"
            assert (await client.ask({"type": "unsubscribe", "channels": ["chat:a"]}))["type"] == "unsubscribed"
            await relieve(pressure, clock)
            answer = await client.subscribe("twins", "chat:b")
            assert not [each for each in answer["channels"] if "error" in each]


class TestPublishes:
    """The last that goes."""

    async def test_publish_is_refused_with_a_time_and_the_log_goes_on(
        self,
        node: Node,
        key: str,
        organisation: Organisation,
        pressure: Pressure,
        clock: ManualClock,
        database_url: str,
    ):
        """Into rooms, and telemetry, whose points are not stored; what has events of the log is done as ever."""
        twin = await a_twin(database_url, organisation)
        async with node.joined(key, "agents", "chat:a") as client:
            press(pressure, Part.PUBLISHES)
            for channel, data in (("chat:a", 1), (room(twin), {"heat": 1})):
                refused = await client.ask({"type": "publish", "channel": channel, "data": data})
                assert (refused["type"], refused["error"]["code"]) == ("error", "SERVICE_UNAVAILABLE")
                assert refused["error"]["retry_after"] >= 3
            made = await client.ask({"type": "call", "operation": "agents.create", "input": {"name": "Ada"}})
            assert made["event_id"] in [each["event"]["id"] for each in client.frames if each["type"] == "event"] or (
                (await client.expect("event"))["event"]["id"] == made["event_id"]
            )
            await node.live.publish(organisation.id, "chat:a", "chat.message", b'"of the hub"', source="hub")
            assert (await client.expect("event", channel="chat:a"))["event"]["data"] == "of the hub"
            await relieve(pressure, clock)
            assert (await client.ask({"type": "publish", "channel": "chat:a", "data": 2}))["type"] == "result"
        assert pressure.refused[Part.PUBLISHES] == 2


class TestPresence:
    """The second that goes."""

    async def test_who_asks_is_told_when_to_ask_again(
        self, node: Node, key: str, pressure: Pressure, clock: ManualClock
    ):
        """To read, and to say something of oneself; who is in a room stays a member."""
        async with node.joined(key, "chat:a") as client:
            press(pressure, Part.PRESENCE)
            for more in ({}, {"data": {"mood": "fine"}}):
                refused = await client.ask({"type": "presence", "channel": "chat:a", **more})
                assert (refused["type"], refused["error"]["code"]) == ("error", "SERVICE_UNAVAILABLE")
                assert refused["error"]["retry_after"] >= 3
            assert (await client.ask({"type": "publish", "channel": "chat:a", "data": 1}))["type"] == "result"
            await relieve(pressure, clock)
            told = await client.ask({"type": "presence", "channel": "chat:a"})
            assert told["type"] != "error", told


class TestLatest:
    """Rooms that tell what is newest: less often."""

    async def test_what_comes_between_two_ticks_is_one_event(self, clock: ManualClock, pressure: Pressure):
        """Of each key the newest; without pressure each event goes as it comes."""
        fanout, org, channel = Fanout(pressure=pressure), uuid4(), f"twins:{uuid4()}/telemetry"

        def tell(offset: int, values: dict[str, int]) -> None:
            envelope = orjson.dumps({"id": str(offset), "type": "twin.telemetry", "data": {"metrics": values}}).decode()
            fanout.deliver_latest(org, [LiveEntry(offset, channel, envelope, offset, "")], LIVE[TELEMETRY])

        async with peers(clock, 2) as both:
            for each in both:
                fanout.join(org, channel, each)
            tell(1, {"a": 1})
            press(pressure, Part.LATEST)
            for offset in range(2, 50):
                tell(offset, {"a": offset, f"b{offset % 3}": offset})
            for each in both:
                assert len(await each.has(1)) == 1
            assert fanout.latest.waits.is_set()
            fanout.latest.turn()
            for each in both:
                told = (await each.has(2))[1]
                assert told["offset"] == "49"
                assert told["event"]["data"]["metrics"] == {"a": 49, "b0": 48, "b1": 49, "b2": 47}
            await relieve(pressure, clock)
            tell(50, {"a": 50})
            assert not fanout.latest.waits.is_set()

    async def test_ticks_are_longer(
        self,
        node: Node,
        key: str,
        organisation: Organisation,
        pressure: Pressure,
        clock: ManualClock,
        database_url: str,
    ):
        """Half a second, over sockets; nothing newest is lost. The first event of many goes at once."""
        twin = await a_twin(database_url, organisation)
        async with node.joined(key, room(twin)) as reader, node.open(key) as writer:
            press(pressure, Part.LATEST)
            for value in range(10):
                await writer.ask({"type": "publish", "channel": room(twin), "data": {"heat": value}})
            await reader.ask({"type": "ping"})
            assert heats(reader) in ([], [0.0])
            await clock.advance(0.06)
            await reader.quiet()

            async def has_the_newest() -> bool:
                await clock.advance(0.5)
                await reader.ask({"type": "ping"})
                return heats(reader)[-1:] == [9.0]

            await eventually(has_the_newest, what="the newest")
            assert len(heats(reader)) <= 4


class TestReturns:
    """Slots, and the gate that hands them out."""

    def test_slots_come_one_after_the_other(self, clock: ManualClock):
        """So many a second, not before `least`; what is too late is spread, not heaped."""
        returns = Returns(clock, 10)
        slots = [returns.slot(3.0) for _ in range(100)]
        assert slots == pytest.approx([3.0 + (number + 1) / 10 for number in range(100)])
        late = [returns.slot() for _ in range(2000)]
        assert all(each <= MAX_SLOT_SECONDS for each in late)
        in_seconds = [sum(second <= each < second + 1 for each in late) for second in range(30, 60)]
        assert max(in_seconds) < 120, "two thousand in thirty seconds are some 50 to 60 a second"

    async def test_rate_of_handshakes_stays_under_its_mark(self, clock: ManualClock):
        """Whichever second one looks at; all others wait, and all come in."""
        counts = StreamCounts()
        gate = Gate(clock, counts, per_turn=5, most=1000, rate=1000, per_second=20)
        came: list[float] = []

        async def come(owner: str) -> None:
            await gate.enter(owner)
            came.append(clock.monotonic())

        began = clock.monotonic()
        coming = [asyncio.create_task(come(str(number))) for number in range(100)]
        while not all(each.done() for each in coming):
            await clock.advance(0.05)
        assert sum(at == began for at in came) == 2
        assert max(sum(at <= other < at + 1 for other in came) for at in came) <= 20
        assert came[-1] - began < 100 / 18 + 0.2
        assert counts.handshakes_waiting == counts.handshakes_refused == 0
        gate.close()

    async def test_nobody_waits_longer_than_a_client_does(self, clock: ManualClock):
        """Of what would take longer than that each is refused, with a slot when those who wait are in."""
        counts = StreamCounts()
        gate = Gate(clock, counts, per_turn=50, most=10_000, rate=1000, per_second=10)
        coming = [asyncio.create_task(gate.enter(str(number))) for number in range(200)]
        await clock.settle()
        assert counts.handshakes_waiting == 50
        refused = [task.exception() for task in coming if task.done() and task.exception() is not None]
        assert len(refused) == 200 - 1 - 50
        slots = [each.after_ms for each in refused if isinstance(each, NotNowError)]
        assert min(slots) >= 5000
        assert max(slots) <= 1000 * (50 + len(refused)) / 9 + 100
        while not all(each.done() for each in coming):
            await clock.advance(0.1)
        gate.close()

    async def test_many_of_one_do_not_keep_out_another(self, clock: ManualClock):
        """By turns of those that they say they are; and one has not all places to wait."""
        counts = StreamCounts()
        gate = Gate(clock, counts, per_turn=1, most=100, rate=1000, per_second=1000)
        came: list[str] = []

        async def come(owner: str) -> None:
            await gate.enter(owner)
            came.append(owner)

        coming = [asyncio.create_task(come("noisy")) for _ in range(300)]
        coming.append(asyncio.create_task(come("quiet")))
        outcomes = await asyncio.gather(*coming, return_exceptions=True)
        assert came.index("quiet") <= 3
        assert sum(isinstance(each, NotNowError) for each in outcomes) == 300 - 1 - 90
        gate.close()


async def test_storm_stays_under_the_mark_and_all_are_in(
    database_url: str, redis_url: str, clock: ManualClock, key: str
):
    """Over sockets: those who are refused come at their slot, and are in."""
    settings = StreamSettings(handshakes_per_second=5, handshakes_waiting=3)
    times: list[float] = []
    statuses: set[int] = set()
    began = clock.monotonic()
    async with serve(database_url, redis_url, clock, settings=settings) as node:

        async def come() -> None:
            while True:
                try:
                    async with node.open(key) as client:
                        await client.expect("welcome")
                        times.append(clock.monotonic() - began)
                        return
                except InvalidStatus as refused:
                    statuses.add(refused.response.status_code)
                    await clock.sleep(float(refused.response.headers["Retry-After"]))

        coming = [asyncio.create_task(come()) for _ in range(30)]

        async def are_in() -> bool:
            await clock.advance(0.05)
            return all(each.done() for each in coming)

        await eventually(are_in, what="all in")
        await asyncio.gather(*coming)
    # What the test's own clock counts in steps is late by one of them.
    assert max(sum(at <= other < at + 0.9 for other in times) for at in times) <= 5 + 1
    assert len(times) == 30
    assert statuses == {503}
