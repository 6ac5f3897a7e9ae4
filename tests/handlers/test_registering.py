"""Types that organisations register: beside the platform's, and what events of them are held against."""

from typing import Any

import orjson

from core.operations.results import Page
from handlers.events.checking import MOST_KEPT
from handlers.events.registering import MOST_TYPES
from tests.handlers.house import House, refused
from tests.harness.organisations import Organisations

NAME = "custom.order.placed"
SCHEMA = {
    "type": "object",
    "required": ["total"],
    "properties": {"total": {"type": "number", "minimum": 0}, "note": {"type": "string"}},
}


async def register(house: House, name: str = NAME, /, **body: Any) -> dict[str, Any]:
    return orjson.loads((await house.run("event-types.register", id=name, body=body)).body)


async def append(house: House, *data: dict[str, Any], name: str = NAME) -> None:
    events = [{"type": name, "subject": "order-17", "data": each} for each in data]
    await house.run("events.append", events=events)


async def names(house: House, **wanted: Any) -> tuple[list[str], int]:
    page: Page = await house.run("event-types.list", **wanted)
    return [orjson.loads(item)["id"] for item in page.items], page.total


async def test_events_are_held_against_the_schema_of_their_type(house: House):
    """Of one that fails nothing of the request is appended; types without a schema, or that nobody knows, take any object."""
    await append(house, {"total": "much"})
    await register(house, schema=SCHEMA)
    await append(house, {"total": 1}, {"total": 2, "more": True})
    error = await refused(append(house, {"total": 3}, {"total": -1, "note": 5}, {}))
    assert {(each.field, each.code) for each in error.details} == {
        ("events[1].data.total", "VALUE_OUT_OF_RANGE"),
        ("events[1].data.note", "INVALID_FORMAT"),
        ("events[2].data.total", "MISSING_REQUIRED_FIELD"),
    }
    (row,) = await house.rows("SELECT version FROM event_subjects")
    assert row["version"] == 3
    await append(house, {"total": "much"}, name="custom.order.paid")
    await register(house, "custom.order.paid", description="Paid")
    await append(house, {"total": "much"}, name="custom.order.paid")


async def test_newest_version_of_a_schema_counts(house: House):
    """Also after a deletion and another registration: what a node has kept of one version is of no other."""
    await register(house, schema=SCHEMA)
    await append(house, {"total": 1})
    await register(house, schema={"required": ["amount"]})
    assert (await refused(append(house, {"total": 1}))).details[0].field == "events[0].data.amount"
    await house.run("event-types.delete", id=NAME)
    await append(house, {})
    await register(house, schema={"required": ["sum"]})
    assert (await refused(append(house, {"total": 1}))).details[0].field == "events[0].data.sum"
    await register(house)
    await append(house, {})


async def test_more_types_than_a_node_keeps_ready(house: House):
    """Those that were used least lately are made ready again."""
    for number in range(MOST_KEPT + 2):
        await register(house, f"custom.t{number}", schema={"required": [f"f{number}"]})
        error = await refused(append(house, {}, name=f"custom.t{number}"))
        assert error.details[0].field == f"events[0].data.f{number}"
    assert (await refused(append(house, {}, name="custom.t0"))).details[0].field == "events[0].data.f0"


async def test_types_are_listed_beside_the_platforms(house: House):
    """In the order of names, on pages that neither skip nor repeat; each is told as the platform's are."""
    platform, count = await names(house, per_page=100)
    own = [f"custom.t{number:02}" for number in range(7)]
    for name in own:
        await register(house, name)
    everything = sorted([*platform, *own])
    for size in (1, 3, 5, 100):
        seen: list[str] = []
        while len(seen) < count + 7:
            part, total = await names(house, page=1 + len(seen) // size, per_page=size)
            assert total == count + 7
            seen += part
        assert seen == everything
    said = await register(house, description="Placed", schema=SCHEMA, example={"total": 5})
    assert said == orjson.loads((await house.run("event-types.get", id=NAME)).body)
    assert (said["summary"], said["status"], said["data_schema"]) == ("Placed", "registered", SCHEMA)
    assert said["example"]["data"] == {"total": 5}
    await house.run("event-types.delete", id=NAME)
    assert (await refused(house.run("event-types.get", id=NAME))).code == "RESOURCE_NOT_FOUND"
    assert (await refused(house.run("event-types.delete", id=NAME))).code == "RESOURCE_NOT_FOUND"


async def test_what_cannot_be_registered(house: House):
    """The platform's types, other names, schemas that cannot be taken, examples that are not of theirs."""
    for name in ("agent.created", "order.placed", "custom", "custom." + "a" * 200):
        assert (await refused(register(house, name))).code == "RESOURCE_NOT_FOUND"
        assert (await refused(house.run("event-types.delete", id=name))).code == "RESOURCE_NOT_FOUND"
    for body, field in (
        ({"schema": {"type": "strin"}}, "schema.type"),
        ({"schema": []}, "schema"),
        ({"schema": None}, "schema"),
        ({"schema": SCHEMA, "example": {"total": "x"}}, "example.total"),
        ({"example": {"a": "x" * 40_000}}, "example"),
        ({"example": [1]}, "example"),
        ({"description": "a\x00"}, "description"),
        ({"description": "a" * 2001}, "description"),
        ({"colour": "red"}, "colour"),
    ):
        error = await refused(register(house, **body))
        assert (error.code, [each.field for each in error.details]) == ("VALIDATION_ERROR", [field])
    assert await house.rows("SELECT FROM event_types") == []


async def test_number_of_types_is_bounded(house: House):
    """The next one is a conflict; those that are there can be replaced."""
    fill = (
        "INSERT INTO event_types (org_id, name, id, version, revision, description, created_at, updated_at) "
        "SELECT $1, 'custom.t' || n, gen_random_uuid(), 1, gen_random_uuid(), '', now(), now() FROM generate_series(1, $2) AS n"
    )
    await house.rows(fill, house.caller.org_id, MOST_TYPES)
    assert (await refused(register(house))).code == "RESOURCE_CONFLICT"
    assert (await register(house, "custom.t1", description="again"))["summary"] == "again"


async def test_large_events_are_not_checked_for_long(house: House):
    """What schema and data make together is bounded, in one event and in all of a request."""
    await register(house, schema={"properties": {"a": {"items": {"allOf": [{"type": "integer"}] * 100}}}})
    await append(house, {"a": [1] * 1_000})
    error = await refused(append(house, {"a": [1] * 20_000}))
    assert [(each.field, each.code) for each in error.details] == [("events[0].data", "VALUE_OUT_OF_RANGE")]
    error = await refused(append(house, *({"a": [1] * 1_000} for _ in range(20))))
    assert error.details[0].code == "VALUE_OUT_OF_RANGE"


async def test_types_are_the_organisations_own(house: House, organisations: Organisations):
    """Another one neither sees nor meets them; who is for some resources only registers none."""
    await register(house, schema=SCHEMA)
    foreign = (await organisations.create()).caller()
    assert (await refused(house.run("event-types.get", foreign, id=NAME))).code == "RESOURCE_NOT_FOUND"
    assert (await refused(house.run("event-types.delete", foreign, id=NAME))).code == "RESOURCE_NOT_FOUND"
    await house.run("events.append", foreign, type=NAME, subject="a", data={})
    agent = await house.create("agents", name="Ada")
    few = house.caller_for(agent.id)
    for name, data in (("register", {"body": {}}), ("delete", {})):
        assert (await refused(house.run(f"event-types.{name}", few, id=NAME, **data))).code == "FORBIDDEN"
