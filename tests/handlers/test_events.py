"""The log as clients read it: whole, in both directions, by type, subject, time and position; and who sees what of it."""

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.auth.caller import Caller
from core.operations.results import Document, Page
from core.store.database import connect_as
from handlers.events.listing import channels_of, events_of
from handlers.events.models import ListEvents
from tests.handlers.house import House, refused
from tests.handlers.test_list_plans import Explained
from tests.harness.organisations import Organisations
from tests.harness.relaying import Relaying, relaying

PATTERNS = ["agent.created", "agent.*", "*.deleted", "*", "a*t.*d", "*e*", "agent.*.created", "twin._pdated", "tw*in.*"]


@pytest.fixture
async def relay(house: House) -> AsyncIterator[Relaying]:
    """A relay beside the house."""
    async with relaying(house.url) as running:
        yield running


async def stirred(house: House, dice: random.Random, steps: int) -> None:
    """Create, change and delete resources of all kinds at random."""
    there: list[tuple[str, str]] = []
    for _ in range(steps):
        house.clock.jump(dice.choice([0, 0.5, 3, -1]))
        kind = dice.choice(["agents", "knowledge", "twins"])
        if not there or dice.random() < 0.5:
            made = await house.create(kind, name=f"n{dice.randrange(9)}")
            there.append((kind, str(made.id)))
        elif dice.random() < 0.6:
            kind, id = dice.choice(there)
            await house.run(f"{kind}.update", id=id, body={"status": dice.choice("ab")})
        else:
            kind, id = there.pop(dice.randrange(len(there)))
            await house.run(f"{kind}.delete", id=id)


async def ledger(house: House) -> list[dict[str, Any]]:
    """Return the caller's events as the table has them, by position."""
    rows = await house.rows(
        "SELECT position, envelope FROM events WHERE org_id = $1 ORDER BY position", house.caller.org_id
    )
    return [{**orjson.loads(row["envelope"]), "position": str(row["position"])} for row in rows]


async def listed(house: House, caller: Caller | None = None, /, **wanted: Any) -> list[dict[str, Any]]:
    """Return all events of a list, page by page."""
    seen: list[dict[str, Any]] = []
    while True:
        page: Page = await house.run("events.list", caller, page=1 + len(seen) // 100, per_page=100, **wanted)
        seen += [orjson.loads(item) for item in page.items]
        if len(page.items) < 100:
            assert page.total == len(seen)
            return seen


async def walked(house: House, way: str, **wanted: Any) -> list[dict[str, Any]]:
    """Return all events of a list from cursor to cursor, `after` or `before`."""
    seen: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        page: Page = await house.run("events.list", limit=7, **wanted, **cursor)
        assert page.window is not None
        part = [orjson.loads(item) for item in page.items]
        seen = [*seen, *part] if way == "after" else [*part, *seen]
        cursor = {way: page.window.after if way == "after" else page.window.before}
        if cursor[way] is None or (cursor != {} and not page.window.has_more):
            return seen


async def test_log_is_read_whole_in_both_directions(house: House, relay: Relaying):
    """By pages and from cursor to cursor; the newest first where nothing is said."""
    await stirred(house, random.Random(8), 60)
    await relay.settled()
    told = await ledger(house)
    assert [int(each["position"]) for each in told] == list(range(1, len(told) + 1))
    assert await listed(house, sort="position") == told
    assert await listed(house) == await listed(house, sort="-position") == told[::-1]
    assert await walked(house, "after", sort="position") == told
    assert await walked(house, "after") == told[::-1]


async def test_filters_are_those_of_a_model(house: House, relay: Relaying):
    """Patterns of types, subjects, times and positions, alone and together, as a few lines of Python say."""
    seed = 26
    dice = random.Random(seed)
    await stirred(house, dice, 60)
    await relay.settled()
    told = await ledger(house)
    times = [datetime.fromisoformat(each["time"]) for each in told]
    for pattern in PATTERNS:
        expected = [each for each in told if fnmatchcase(each["type"], pattern)]
        assert await listed(house, type=pattern, sort="position") == expected, (seed, pattern)
    for _ in range(30):
        pattern, subject = dice.choice(PATTERNS), dice.choice(told)["subject"]
        begin, position = dice.choice(times), dice.randrange(1, len(told))
        wanted: dict[str, Any] = {"sort": "position", "filter": {"position": {"gt": str(position)}}}
        expected = [each for each in told if int(each["position"]) > position]
        if dice.random() < 0.5:
            wanted["type"] = pattern
            expected = [each for each in expected if fnmatchcase(each["type"], pattern)]
        if dice.random() < 0.3:
            wanted["subject"] = subject
            expected = [each for each in expected if each["subject"] == subject]
        if dice.random() < 0.5:
            wanted["filter"]["time"] = {"gte": begin.isoformat(), "lt": (begin + timedelta(seconds=20)).isoformat()}
            expected = [
                each
                for each in expected
                if begin <= datetime.fromisoformat(each["time"]) < begin + timedelta(seconds=20)
            ]
        assert await listed(house, **wanted) == expected, (seed, wanted)


async def test_one_event_and_those_of_one_resource(house: House, relay: Relaying):
    """An event by its id; of a resource its own, also when it is deleted; of one that never was, 404."""
    made = await house.create("agents", name="Ada")
    await house.create("agents", name="Bob")
    await house.run("agents.update", id=str(made.id), body={"status": "off"})
    await house.run("agents.delete", id=str(made.id))
    assert (await house.run("events.of_agents", resource_id=str(made.id))).total in range(4)
    await relay.settled()
    own = [each for each in await ledger(house) if each["subject"] == f"agents/{made.id}"]
    page: Page = await house.run("events.of_agents", resource_id=str(made.id), sort="position")
    assert [orjson.loads(item) for item in page.items] == own
    assert [each["type"] for each in own] == ["agent.created", "agent.updated", "agent.deleted"]
    for event in own:
        one: Document = await house.run("events.get", id=event["id"])
        assert orjson.loads(one.body) == event
    for kind in ("knowledge", "twins"):
        error = await refused(house.run(f"events.of_{kind}", resource_id=str(made.id)))
        assert error.code == "RESOURCE_NOT_FOUND"
    assert (await refused(house.run("events.get", id=str(made.id)))).code == "RESOURCE_NOT_FOUND"
    assert (await refused(house.run("events.get", id="1"))).code == "RESOURCE_NOT_FOUND"


async def test_large_event_is_whole(house: House, relay: Relaying):
    """What travels short over the stream is read here as it was written."""
    made = await house.create("twins", name="Pump", data={"log": "x" * 200_000})
    await relay.settled()
    (event,) = await listed(house)
    assert event["data"] == orjson.loads(made.body)
    error = await refused(house.run("events.list", filter={"position": {"gt": "x"}}))
    assert (error.code, error.details[0].field) == ("VALIDATION_ERROR", "filter[position][gt]")


async def test_caller_sees_its_own_resources_events(house: House, relay: Relaying, organisations: Organisations):
    """One that is restricted sees those of its resources; one of another organisation nothing."""
    mine, other = await house.create("agents", name="mine"), await house.create("twins", name="other")
    await relay.settled()
    few = house.caller_for(mine.id)
    foreign = (await organisations.create()).caller()
    told = await ledger(house)
    assert await listed(house, few) == [each for each in told if each["subject"] == f"agents/{mine.id}"]
    assert await listed(house, foreign) == []
    hidden = next(each["id"] for each in told if each["subject"] == f"twins/{other.id}")
    shown = next(each["id"] for each in told if each["subject"] == f"agents/{mine.id}")
    assert (await house.run("events.get", few, id=shown)).id == UUID(shown)
    for caller, id in ((few, hidden), (foreign, hidden), (foreign, shown)):
        assert (await refused(house.run("events.get", caller, id=id))).code == "RESOURCE_NOT_FOUND"
    for caller in (few, foreign):
        error = await refused(house.run("events.of_twins", caller, resource_id=str(other.id)))
        assert error.code == "RESOURCE_NOT_FOUND"


_FILL = """
INSERT INTO events (org_id, position, event_id, type, subject, channel, time, recorded_at, envelope)
SELECT $1, n, gen_random_uuid(), CASE n % 1000 WHEN 0 THEN 'agent.deleted' ELSE 'twin.updated' END,
    'twins/' || n % 500, 'twins:' || n % 500, '2026-01-01Z'::timestamptz + n * '1 s'::interval, '2026-01-01Z',
    '{"pad": "' || repeat('x', 600) || '"}'
FROM generate_series(1, $2) AS n
"""
_READS: list[dict[str, Any]] = [
    {},
    {"sort": "position", "limit": 20},
    {"type": "agent.deleted"},
    {"type": "agent.*"},
    {"type": "agent.*", "sort": "position", "limit": 20},
    {"subject": "twins/7"},
    {"filter": {"time": {"gte": "2026-01-01T01:00:00Z", "lt": "2026-01-01T01:01:00Z"}}},
    {"filter": {"position": {"gt": "9000", "lte": "9100"}}},
    {"filter": {"position": {"gt": "11900"}}, "sort": "position"},
]


async def test_log_is_read_by_its_indexes(database_url: str, organisations: Organisations):
    """Twelve thousand events, and another organisation's: each read takes a small part of the table's pages."""
    large, small = (await organisations.create()).id, (await organisations.create()).id
    owner = await connect_as(database_url, "hub_owner")
    connection = await connect_as(database_url, "hub_app")
    try:
        for org_id, count in ((large, 12_000), (small, 50)):
            await owner.execute(_FILL, org_id, count)
        await owner.execute("VACUUM ANALYZE events")
        table: Any = await owner.fetchval("SELECT pg_relation_size('events') / 8192")
        for org_id in (large, small):
            await connection.execute("SELECT set_config('hub.org_id', $1::text, false)", str(org_id))
            for wanted in _READS:
                explained = Explained(connection)
                model = ListEvents.model_validate(wanted)
                await events_of(explained, model, subject=model.subject)  # pyright: ignore[reportArgumentType] - what a list asks
                assert not [node for node in explained.nodes if node.startswith("Seq Scan")], wanted
                assert explained.pages < table / 4, (wanted, explained.pages, table)
            explained = Explained(connection)
            channels = [*channels_of(frozenset({UUID(int=7)})), "twins:9"]
            everything = ListEvents.model_validate({})
            await events_of(explained, everything, channels=channels)  # pyright: ignore[reportArgumentType] - what a list asks
            assert explained.pages < table / 4, ("channels", explained.pages, table)
    finally:
        await connection.close()
        await owner.close()
