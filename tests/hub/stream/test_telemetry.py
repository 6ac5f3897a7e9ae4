"""Telemetry on the stream: published, stored, told to its room and to no other; late and slow readers get what is newest."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import orjson
import pytest

from core.clock import Clock
from core.ids import new_id
from core.settings import Settings
from core.store.database import Database, connect_as
from handlers.twins.telemetry.telling import TYPE
from hub.stream.doing import STORED_AT_ONCE
from hub.twins import TwinParts
from rooms.live import LiveRooms
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.hub.stream.node import Node, serve


def parts(database: Database, live: LiveRooms, clock: Clock) -> TwinParts:
    return TwinParts(Settings.load(), database, live, clock, lambda: None)


@pytest.fixture
async def node(database_url: str, redis_url: str, clock: ManualClock) -> AsyncIterator[Node]:
    async with serve(database_url, redis_url, clock, twins=parts) as served:
        yield served


@pytest.fixture
async def twin(organisation: Organisation, database_url: str) -> str:
    return await a_twin(database_url, organisation)


async def a_twin(database_url: str, organisation: Organisation) -> str:
    id = new_id()
    owner = await connect_as(database_url, "hub_owner")
    await owner.execute(
        "INSERT INTO twins (org_id, id, version, name, type, status, created_at, updated_at, document, search) "
        "VALUES ($1, $2, 1, 'Pump', 'generic', 'active', now(), now(), '{}', 'pump')",
        organisation.id,
        id,
    )
    await owner.close()
    return str(id)


def room(twin: str) -> str:
    return f"twins:{twin}/telemetry"


async def publish(client: Any, twin: str, data: Any) -> Any:
    return await client.ask({"type": "publish", "channel": room(twin), "data": data})


def values(frame: Any) -> dict[str, float]:
    return {metric: point["value"] for metric, point in frame["event"]["data"]["metrics"].items()}


async def test_what_is_published_is_stored_and_told(node: Node, key: str, twin: str, clock: ManualClock):
    async with node.joined(key, room(twin)) as reader, node.open(key) as writer:
        assert (await publish(writer, twin, {"heat": 21.5, "speed": 3}))["result"] == {"stored": 2}
        frame = await reader.expect("event")
        assert (frame["channel"], frame["event"]["type"]) == (room(twin), TYPE)
        assert frame["event"]["subject"] == f"twins/{twin}/telemetry"
        assert values(frame) == {"heat": 21.5, "speed": 3.0}
        points = [{"metric": "heat", "value": 1, "time": "2025-12-31T23:00:00Z"}, {"metric": "heat", "value": 22}]
        assert (await publish(writer, twin, {"points": points}))["result"] == {"stored": 2}
        assert values(await reader.expect("event")) == {"heat": 22.0}


async def test_members_of_the_twin_and_of_all_twins_hear_nothing_of_it(node: Node, key: str, twin: str):
    """The room is none of theirs; and its members hear nothing of the twin."""
    async with (
        node.joined(key, "twins", f"twins:{twin}") as others,
        node.joined(key, room(twin)) as reader,
        node.joined(key, room(twin), "twins") as both,
    ):
        await publish(reader, twin, {"heat": 1})
        assert (await both.expect("event"))["channel"] == room(twin)
        await others.quiet()


async def test_who_joins_later_gets_the_newest_values_then_what_follows(node: Node, key: str, twin: str):
    async with node.open(key) as writer, node.open(key) as late:
        await publish(writer, twin, {"heat": 1, "speed": 2})
        await publish(writer, twin, {"heat": 3})
        await late.subscribe(room(twin))
        seen = values(await late.expect("event"))
        assert seen == {"heat": 3.0, "speed": 2.0}
        await publish(writer, twin, {"speed": 4})
        while seen["speed"] != 4.0:  # what was on its way may come after the newest values, which have it already
            seen |= values(await late.expect("event"))
        assert seen == {"heat": 3.0, "speed": 4.0}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"heat": "hot"}, "VALIDATION_ERROR"),
        ({"heat": None}, "VALIDATION_ERROR"),
        ({"heat": True}, "VALIDATION_ERROR"),
        ({}, "VALIDATION_ERROR"),
        ([1], "VALIDATION_ERROR"),
        ("text", "VALIDATION_ERROR"),
        ({"points": []}, "VALIDATION_ERROR"),
        ({"points": [{"metric": "heat", "value": 1, "time": "2027-01-01T00:00:00Z"}]}, "VALIDATION_ERROR"),
        ({"points": [{"metric": "heat", "value": 1}], "more": 1}, "VALIDATION_ERROR"),
    ],
)
async def test_what_is_no_telemetry_is_refused(node: Node, key: str, twin: str, data: Any, code: str):
    async with node.open(key) as client:
        assert (await publish(client, twin, data))["error"]["code"] == code
        assert (await publish(client, twin, {"heat": 1}))["result"] == {"stored": 1}


async def test_what_the_caller_may_not_know_of_is_not_there(
    node: Node, key: str, twin: str, organisation: Organisation, organisations: Organisations, database_url: str
):
    foreign = await a_twin(database_url, await organisations.create())
    async with node.open(key) as client:
        for missing in (foreign, str(uuid4())):
            assert (await publish(client, missing, {"heat": 1}))["error"]["code"] == "RESOURCE_NOT_FOUND"
            (channel,) = (await client.subscribe(room(missing)))["channels"]
            assert channel["error"]["code"] == "CHANNEL_NOT_FOUND"
        for name in ("twins/telemetry", f"twins:{twin}/other", f"agents:{twin}/telemetry", f"twins:{twin}/telemetry/"):
            (channel,) = (await client.subscribe(name))["channels"]
            assert channel["error"]["code"] == "CHANNEL_NOT_FOUND", name
    async with node.open(await organisation.key(resource_ids=[uuid4()])) as restricted:
        assert (await publish(restricted, twin, {"heat": 1}))["error"]["code"] == "FORBIDDEN"
        assert (await restricted.subscribe(room(twin)))["channels"][0]["error"]["code"] == "CHANNEL_NOT_FOUND"
    async with node.open(await organisation.key(["read:twins"])) as reader:
        assert (await publish(reader, twin, {"heat": 1}))["error"]["code"] == "INSUFFICIENT_SCOPE"


async def test_two_nodes_tell_their_readers_the_same(
    database_url: str, redis_url: str, clock: ManualClock, node: Node, key: str, twin: str
):
    async with (
        serve(database_url, redis_url, clock, twins=parts) as second,
        node.joined(key, room(twin)) as here,
        second.joined(key, room(twin)) as there,
    ):
        for number in range(1, 21):
            writer = (here, there)[number % 2]
            assert (await publish(writer, twin, {f"m{number % 4}": number}))["result"] == {"stored": 1}
        for reader in (here, there):
            seen: dict[str, float] = {}
            for frame in reader.frames:
                seen |= values(frame) if frame["type"] == "event" else {}
            while seen != {"m0": 20.0, "m1": 17.0, "m2": 18.0, "m3": 19.0}:
                seen |= values(await reader.expect("event"))


async def test_a_slow_reader_is_not_cut_and_gets_the_newest(
    node: Node, key: str, twin: str, organisation: Organisation, clock: ManualClock
):
    """Much more than a network holds comes while it does not read: it gets the newest of each key, not all."""
    count = 300
    async with node.joined(key, room(twin)) as slow, node.joined(key, room(twin)) as quick:
        slow.socket.transport.pause_reading()
        for number in range(1, count + 1):
            filler = {f"m{number % 3}.{at}": {"value": number, "time": "t"} for at in range(1500)}
            data = orjson.dumps({"metrics": {"last": {"value": number, "time": "t"}, **filler}})
            await node.live.publish(organisation.id, room(twin), TYPE, data, source="aimatrix")
            while values(await quick.expect("event"))["last"] != number:
                pass
        await clock.advance(11)  # more than anything may wait for a reader, less than its ping
        slow.socket.transport.resume_reading()
        seen: dict[str, float] = {}
        frames = 0
        while seen.get("last") != count:
            await clock.advance(0.06)
            seen |= values(await slow.expect("event"))
            frames += 1
        assert frames < count
        while {seen[f"m{number % 3}.0"] for number in range(3)} != {count, count - 1, count - 2}:
            await clock.advance(0.06)
            seen |= values(await slow.expect("event"))
        assert not node.door.counts.closed[4001]


async def test_the_pace_is_that_of_telemetry(node: Node, key: str, twin: str):
    """A hundred at once, which is more than may be published into a chat."""
    async with node.open(key) as client:
        for number in range(100):
            await client.send({"type": "publish", "id": number, "channel": room(twin), "data": {"heat": number}})
        for _ in range(100):
            assert (await client.expect("result"))["result"] == {"stored": 1}


async def test_what_is_being_stored_does_not_hold_up_the_next_frames(
    node: Node, key: str, twin: str, organisation: Organisation, database_url: str
):
    """Many points of one connection share a write; beyond STORED_AT_ONCE the connection waits, and nothing is lost."""
    owner = await connect_as(database_url, "hub_owner")
    lock = "SELECT pg_advisory_lock(hashtextextended('telemetry/' || $1::text, 0))"
    async with node.open(key) as writer:
        await owner.execute(lock, str(organisation.id))
        for number in range(STORED_AT_ONCE):
            await writer.send({"type": "publish", "id": number, "channel": room(twin), "data": {f"m{number}": number}})
        await writer.send({"type": "ping", "id": "between"})
        assert (await writer.expect("pong"))["id"] == "between"
        for number in range(STORED_AT_ONCE, 3 * STORED_AT_ONCE):
            await writer.send({"type": "publish", "id": number, "channel": room(twin), "data": {f"m{number}": number}})
        await writer.send({"type": "ping", "id": "behind"})
        await owner.execute("SELECT pg_advisory_unlock_all()")
        frames = [await writer.receive() for _ in range(3 * STORED_AT_ONCE + 1)]
    await owner.close()
    answered = [frame["id"] for frame in frames if frame["type"] == "result"]
    assert sorted(answered) == list(range(3 * STORED_AT_ONCE))
    assert [frame["id"] for frame in frames if frame["type"] == "pong"] == ["behind"]
    assert frames[0]["type"] == "result"  # the ping behind them waited for room
