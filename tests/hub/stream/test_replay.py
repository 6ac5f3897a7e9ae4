"""The log again at the pace at which it was recorded, then on into what happens, without a gap or a double."""

from typing import Any
from uuid import uuid4

import pytest

from core.errors import HubError
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve

BEGIN = "2026-01-01T00:00:00Z"
_SPREAD = """
    UPDATE events SET recorded_at = '2026-01-01T00:00:00Z'::timestamptz + make_interval(secs => position * $2::float)
    WHERE org_id = $1 RETURNING 1
"""


async def recorded(
    node: Node, organisation: Organisation, count: int, *, apart: float = 10.0, channel: str = ""
) -> list[int]:
    """Have `count` events in the log, `apart` seconds from each other."""
    numbers = await node.emit(organisation.id, count, channel)
    await node.logged(organisation.id, count)
    await organisation.rows(_SPREAD, organisation.id, apart)
    return numbers


def events_of(client: StreamClient) -> list[Frame]:
    return [frame for frame in client.frames if frame["type"] == "event"]


async def paced(client: StreamClient, clock: ManualClock, seconds: float, count: int) -> list[int]:
    """Let time pass; return the numbers of the events that came in it, which are `count`."""
    await clock.advance(seconds)
    came = numbers_of(await client.events(count))
    await client.quiet()
    return came


class TestPace:
    """As far apart as they were recorded, by the speed."""

    async def test_events_come_at_their_pace_and_then_live(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """The first at once; what happened meanwhile after the last one, unmarked."""
        await recorded(node, organisation, 4)
        async with node.open(key) as client:
            answer = await client.subscribe({"channel": "agents", "since": BEGIN, "speed": 10})
            assert answer["channels"][0] == {**answer["channels"][0], "offset": "0", "recovered": True}
            assert numbers_of(await client.events(1)) == [1]
            assert await paced(client, clock, 0.9, 0) == []
            assert await paced(client, clock, 0.1, 1) == [2]
            await node.emit(organisation.id, 1)
            assert await paced(client, clock, 1.0, 1) == [3]
            assert await paced(client, clock, 0.99, 0) == []
            assert await paced(client, clock, 0.01, 2) == [4, 5]
            await node.emit(organisation.id, 1)
            await client.expect("event", offset="6")
            frames = events_of(client)
            assert numbers_of(frames) == [1, 2, 3, 4, 5, 6]
            assert [frame.get("replayed", False) for frame in frames] == [True] * 4 + [False] * 2
            await client.quiet()

    async def test_silence_is_bounded_where_asked(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """A day without an event is no day without an event."""
        await recorded(node, organisation, 3, apart=86_400.0)
        async with node.open(key) as client:
            await client.subscribe({"channel": "agents", "offset": "0", "speed": 1, "max_gap_ms": 500})
            assert numbers_of(await client.events(1)) == [1]
            assert await paced(client, clock, 0.4, 0) == []
            assert await paced(client, clock, 0.1, 1) == [2]
            assert await paced(client, clock, 0.5, 1) == [3]

    async def test_without_speed_all_comes_at_once(self, node: Node, key: str, organisation: Organisation):
        numbers = await recorded(node, organisation, 3)
        async with node.joined(key, {"channel": "agents", "since": BEGIN, "speed": 0}) as client:
            frames = await client.events(3)
            assert numbers_of(frames) == numbers
            assert not any("replayed" in frame for frame in frames)

    async def test_filter_and_star_hold_in_a_replay(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """The pace is that of what is shown."""
        await recorded(node, organisation, 4)
        item = {"channel": "agents:*", "filter": {"number": {"$in": [1, 4]}, "$type": "agent.updated"}}
        async with node.open(key) as client:
            await client.subscribe({**item, "since": BEGIN, "speed": 10})
            assert numbers_of(await client.events(1)) == [1]
            assert await paced(client, clock, 2.9, 0) == []
            assert await paced(client, clock, 0.1, 1) == [4]

    async def test_long_log_is_read_by_pages(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """More than one page, each event once and in order."""
        numbers = await recorded(node, organisation, 700, apart=0.0)
        async with node.joined(key, {"channel": "agents", "offset": "0", "speed": 1}) as client:
            assert numbers_of(await client.events(700)) == numbers
            await client.quiet()


class TestEnds:
    """Left, cut, come back, begun anew."""

    async def test_unsubscribe_ends_it(self, node: Node, key: str, organisation: Organisation, clock: ManualClock):
        await recorded(node, organisation, 3)
        async with node.open(key) as client:
            await client.subscribe({"channel": "agents", "since": BEGIN, "speed": 1})
            assert len(await client.events(1)) == 1
            await client.ask({"type": "unsubscribe", "channels": ["agents"]})
            assert await paced(client, clock, 19, 0) == []

    async def test_who_comes_back_goes_on_with_its_offset(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """The same item with the offset in place of the time."""
        await recorded(node, organisation, 3)
        async with node.open(key) as client:
            await client.subscribe({"channel": "agents", "since": BEGIN, "speed": 10})
            (first,) = await client.events(1)
        async with node.open(key) as back:
            await back.subscribe({"channel": "agents", "offset": first["offset"], "speed": 10})
            assert numbers_of(await back.events(1)) == [2]
            assert await paced(back, clock, 1.0, 1) == [3]

    async def test_others_of_the_connection_are_not_held(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """They are live beside it; no bookmark counts for all while it goes on."""
        await recorded(node, organisation, 2)
        async with node.open(key) as client:
            await client.subscribe("twins", {"channel": "agents", "since": BEGIN, "speed": 1})
            await client.expect("event", channel="agents")
            await node.emit(organisation.id, 1, f"twins:{uuid4()}")
            await client.expect("event", channel="twins")
            assert "position" not in await client.ask({"type": "ping"})
            assert await paced(client, clock, 10, 1) == [2]

            async def has_bookmark() -> bool:
                return "position" in await client.ask({"type": "ping"})

            await eventually(has_bookmark)

    async def test_new_epoch_ends_it(self, node: Node, key: str, organisation: Organisation, clock: ManualClock):
        """The client is told, and goes on where the new log is."""
        await recorded(node, organisation, 3)
        async with node.open(key) as client:
            await client.subscribe({"channel": "agents", "since": BEGIN, "speed": 1})
            assert len(await client.events(1)) == 1
            await organisation.rows("UPDATE log_epoch SET epoch = 'another' RETURNING 1")
            node.feeds.check_all()
            await client.expect("reset", channel="agents")
            await node.emit(organisation.id, 1)
            assert [frame["offset"] for frame in await client.events(1)] == ["4"]
            assert await paced(client, clock, 19, 0) == []

    async def test_log_that_is_away_is_waited_for(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
    ):
        log = Failing(3)
        async with serve(database_url, redis_url, clock, log=log) as node, node.open(key) as client:
            log.log = node.log
            numbers = await recorded(node, organisation, 2, apart=0.0)
            await client.subscribe({"channel": "agents", "offset": "0", "speed": 1})
            for _ in range(3):
                await clock.advance(0.25)
            assert numbers_of(await client.events(2)) == numbers


class Failing:
    """A log whose timed reads fail at first, as those of a database that is away."""

    log: Any

    def __init__(self, failures: int) -> None:
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    async def read_timed(self, *args: Any, **options: Any) -> Any:
        if self._failures:
            self._failures -= 1
            raise HubError("SERVICE_UNAVAILABLE")
        return await self.log.read_timed(*args, **options)


@pytest.mark.parametrize(
    ("options", "field", "code"),
    [
        ({"since": BEGIN, "speed": -1}, "speed", "VALUE_OUT_OF_RANGE"),
        ({"since": BEGIN, "speed": 1001}, "speed", "VALUE_OUT_OF_RANGE"),
        ({"since": BEGIN, "speed": "fast"}, "speed", "INVALID_FORMAT"),
        ({"since": BEGIN, "speed": True}, "speed", "INVALID_FORMAT"),
        ({"speed": 1}, "speed", "INVALID_FORMAT"),
        ({"since": BEGIN, "max_gap_ms": 1}, "max_gap_ms", "INVALID_FORMAT"),
        ({"since": BEGIN, "speed": 1, "max_gap_ms": 1e9}, "max_gap_ms", "VALUE_OUT_OF_RANGE"),
        ({"channel": "chat:lobby", "offset": "0", "speed": 1}, "speed", "INVALID_FORMAT"),
        ({"channel": f"subscriptions:{uuid4()}", "speed": 1}, "speed", "INVALID_FORMAT"),
    ],
)
async def test_what_cannot_be_is_refused(node: Node, key: str, options: Any, field: str, code: str):
    """By name."""
    async with node.open(key) as client:
        (channel,) = (await client.subscribe({"channel": "agents", **options}))["channels"]
        (detail,) = channel["error"]["details"]
        assert (detail["field"], detail["code"]) == (field, code)
