"""Events of applications: in the log like all others, of one order for each subject, and only where the version is as expected."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from core.clock import rfc3339
from core.errors import HubError
from core.operations.results import Document, Page
from tests.handlers.house import House, refused
from tests.handlers.test_events import ledger
from tests.harness.organisations import Organisations
from tests.harness.relaying import Relaying, relaying


@pytest.fixture
async def relay(house: House) -> AsyncIterator[Relaying]:
    """A relay beside the house."""
    async with relaying(house.url) as running:
        yield running


def event(subject: str = "order-17", what: str = "placed", /, **more: Any) -> dict[str, Any]:
    return {"type": f"custom.order.{what}", "subject": subject, "data": {}, **more}


async def append(house: House, *events: dict[str, Any], **one: Any) -> dict[str, Any]:
    """Append events, or the one that is given by its fields."""
    return orjson.loads((await house.run("events.append", **({"events": list(events)} if events else one))).body)


async def test_event_is_in_the_log_as_it_was_sent(house: House, relay: Relaying):
    """With its own time where it has one; it is read by its id, by type and by subject."""
    earlier = house.clock.now() - timedelta(days=40)
    data = {"total": 99.5, "lines": [{"sku": "ä"}], "none": None}
    said = await append(house, **event(data=data, time=rfc3339(earlier)))
    (one,) = said["events"]
    assert (one["version"], said["subjects"]) == (1, {"order-17": 1})
    await append(house, **event("order-18"))
    await relay.settled()
    read: Document = await house.run("events.get", id=one["id"])
    kept = orjson.loads(read.body)
    assert kept == {
        "id": one["id"],
        "type": "custom.order.placed",
        "source": "aimatrix",
        "subject": "order-17",
        "time": rfc3339(earlier),
        "data": data,
        "position": "1",
    }
    for wanted in (
        {"type": "custom.*", "subject": "order-17"},
        {"filter": {"time": {"lt": rfc3339(house.clock.now())}}},
    ):
        page: Page = await house.run("events.list", **wanted)
        assert [orjson.loads(item) for item in page.items] == [kept]


async def test_events_of_a_request_count_up(house: House, relay: Relaying):
    """In their order, each subject by itself; positions are dense among all events of the organisation."""
    await house.create("agents", name="Ada")
    said = await append(house, event("a"), event("b"), event("a", "paid"), event("a", "sent"))
    assert [each["version"] for each in said["events"]] == [1, 1, 2, 3]
    assert said["subjects"] == {"a": 3, "b": 1}
    said = await append(house, event("b", "paid"), event("a", "done"))
    assert said["subjects"] == {"a": 4, "b": 2}
    await relay.settled()
    told = await ledger(house)
    assert [int(each["position"]) for each in told] == list(range(1, 8))
    assert [each["type"] for each in told if each["subject"] == "a"] == [
        f"custom.order.{what}" for what in ("placed", "paid", "sent", "done")
    ]


async def test_expected_version_decides(house: House, relay: Relaying):
    """0 is a new subject; where it differs nothing of the request is appended, and the version is told."""
    await append(house, **event(expected_version=0))
    error = await refused(append(house, **event(expected_version=0)))
    assert (error.code, error.status, error.text) == ("RESOURCE_CONFLICT", 409, "order-17 has the version 1, not 0")
    assert [each.field for each in error.details] == ["expected_version"]
    error = await refused(append(house, event("new"), event(expected_version=1), event(expected_version=5)))
    assert [(each.field, each.message) for each in error.details] == [
        ("events[2].expected_version", "order-17 has the version 2, not 5")
    ]
    said = await append(house, event("new", expected_version=0), event(expected_version=1), event(expected_version=2))
    assert said["subjects"] == {"new": 1, "order-17": 3}
    await relay.settled()
    assert len(await ledger(house)) == 4


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"type": "agent.created"}, "type", "INVALID_FORMAT"),
        ({"type": "custom"}, "type", "INVALID_FORMAT"),
        ({"type": "custom.a..b"}, "type", "INVALID_FORMAT"),
        ({"type": "custom.*"}, "type", "INVALID_FORMAT"),
        ({"type": "custom." + "a" * 200}, "type", "INVALID_FORMAT"),
        ({"type": "custom.a\x00"}, "type", "INVALID_FORMAT"),
        ({"subject": "agents/01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55"}, "subject", "INVALID_FORMAT"),
        ({"subject": ""}, "subject", "INVALID_FORMAT"),
        ({"subject": "a\x00"}, "subject", "INVALID_FORMAT"),
        ({"subject": "é"}, "subject", "INVALID_FORMAT"),
        ({"subject": "a" * 129}, "subject", "INVALID_FORMAT"),
        ({"data": [1]}, "data", "INVALID_FORMAT"),
        ({"data": None}, "data", "INVALID_FORMAT"),
        ({"time": "2026-01-01T00:00:00"}, "time", "INVALID_FORMAT"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "time", "VALUE_OUT_OF_RANGE"),
        ({"time": "9999-12-31T23:59:59-14:00"}, "time", "VALUE_OUT_OF_RANGE"),
        ({"expected_version": -1}, "expected_version", "VALUE_OUT_OF_RANGE"),
        ({"expected_version": 2**63}, "expected_version", "VALUE_OUT_OF_RANGE"),
        ({"source": "me"}, "source", "INVALID_FORMAT"),
    ],
)
async def test_what_is_no_event_is_refused(house: House, given: dict[str, Any], field: str, code: str):
    """By itself and in a list, with the field named."""
    wrong = event() | given
    error = await refused(append(house, **wrong))
    assert [(each.field, each.code) for each in error.details] == [(field, code)]
    error = await refused(append(house, event(), wrong))
    assert [(each.field, each.code) for each in error.details] == [(f"events[1].{field}", code)]
    assert await house.rows("SELECT FROM event_subjects UNION ALL SELECT FROM outbox") == []


async def test_shape_and_size_of_a_request(house: House):
    """One event or a list, not both; at most 500; nothing is deeper or larger than elsewhere."""
    deep: Any = 1
    for _ in range(64):
        deep = {"a": deep}
    for wrong, code, fields in (
        ({}, "VALIDATION_ERROR", ["type", "subject", "data"]),
        ({"events": [event()], "subject": "a"}, "VALIDATION_ERROR", ["subject"]),
        ({"events": []}, "VALIDATION_ERROR", ["events"]),
        ({"events": [event()] * 501}, "VALIDATION_ERROR", ["events"]),
        ({"events": [event(data=deep)]}, "VALIDATION_ERROR", ["events"]),
        (event(data={"a": deep}), "VALIDATION_ERROR", ["data"]),
        (event(data={"a": "x" * 1_200_000}), "PAYLOAD_TOO_LARGE", []),
    ):
        error = await refused(append(house, **wrong))
        assert (error.code, [each.field for each in error.details]) == (code, fields)
    said = await append(house, *(event(f"s{n % 7}") for n in range(500)))
    assert sum(said["subjects"].values()) == 500


async def test_large_event_travels_short_and_is_read_whole(house: House, relay: Relaying):
    """What travels says where the whole is."""
    data = {"text": "x" * 100_000}
    (one,) = (await append(house, **event(data=data)))["events"]
    await relay.settled()
    read: Document = await house.run("events.get", id=one["id"])
    assert orjson.loads(read.body)["data"] == data
    (row,) = await house.rows("SELECT short FROM events")
    short = {"id": one["id"], "version": 1, "href": f"/v2/events/{one['id']}", "truncated": True}
    assert orjson.loads(row["short"])["data"] == short


async def test_organisations_and_restricted_callers(house: House, relay: Relaying, organisations: Organisations):
    """A subject belongs to its organisation; who is for some resources only appends nothing, and sees nothing of it."""
    foreign = (await organisations.create()).caller()
    (one,) = (await append(house, **event()))["events"]
    theirs = orjson.loads((await house.run("events.append", foreign, **event(expected_version=0))).body)
    assert theirs["subjects"] == {"order-17": 1}
    agent = await house.create("agents", name="Ada")
    few = house.caller_for(agent.id)
    assert (await refused(house.run("events.append", few, **event()))).code == "FORBIDDEN"
    await relay.settled()
    for caller in (foreign, few):
        assert (await refused(house.run("events.get", caller, id=one["id"]))).code == "RESOURCE_NOT_FOUND"
    page: Page = await house.run("events.list", few)
    assert [orjson.loads(item)["type"] for item in page.items] == ["agent.created"]
    assert (await house.run("events.list", foreign)).total == 1


async def test_exactly_one_of_many_writers_wins_each_version(house: House, relay: Relaying):
    """They all expect the same; who is refused looks again and tries on."""
    writers, wins = 8, 5
    won: list[int] = []
    conflicts = 0

    async def write(name: int) -> None:
        nonlocal conflicts
        version = 0
        for _ in range(wins):
            while True:
                try:
                    said = await append(house, **event(expected_version=version, data={"by": name}))
                except HubError as error:
                    if error.code != "RESOURCE_CONFLICT":
                        raise
                    version = int(error.details[0].message.split()[4].rstrip(","))
                    conflicts += 1
                else:
                    version = said["subjects"]["order-17"]
                    won.append(version)
                    break

    await asyncio.gather(*(write(name) for name in range(writers)))
    assert sorted(won) == list(range(1, writers * wins + 1))
    assert conflicts > 0
    await relay.settled()
    assert Counter(each["data"]["by"] for each in await ledger(house)) == dict.fromkeys(range(writers), wins)


async def test_any_schedule_of_batches_keeps_the_order_of_each_subject(house: House, relay: Relaying):
    """Overlapping subjects in any order never deadlock; the log has each subject's events in the order of its versions."""
    seed = int(os.environ.get("FAULT_SEED", str(random.randrange(2**32))))
    dice = random.Random(seed)
    schedules = [
        [dice.choice("abcd") for _ in range(dice.choice([1, 1, 2, 5, 20]))]
        for _ in range(int(os.environ.get("SCHEDULES", "120")))
    ]
    expected: dict[str, tuple[str, int]] = {}

    async def write(subjects: list[str]) -> None:
        said = await append(house, *(event(each) for each in subjects))
        expected.update((each["id"], (each["subject"], each["version"])) for each in said["events"])

    while schedules:
        together, schedules = schedules[:6], schedules[6:]
        await asyncio.gather(*map(write, together))
    await relay.settled()
    told = [expected[each["id"]] for each in await ledger(house)]
    assert len(told) == len(expected), f"seed {seed}"
    for subject in "abcd":
        versions = [version for name, version in told if name == subject]
        assert versions == list(range(1, len(versions) + 1)), f"seed {seed}: {subject}"
