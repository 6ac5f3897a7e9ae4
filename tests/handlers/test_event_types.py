"""Types of events: each example, and each event that is emitted, is of the schema that is told of it."""

import random
from typing import Any

import jsonschema
import orjson

from core.operations.results import Page
from handlers.events.notices import NOTICES
from tests.handlers.house import House, refused
from tests.handlers.test_events import ledger, stirred
from tests.harness.relaying import relaying


async def types_of(house: House) -> dict[str, dict[str, Any]]:
    page: Page = await house.run("event-types.list", per_page=100)
    return {each["id"]: each for each in map(orjson.loads, page.items)}


def check(type: dict[str, Any], event: dict[str, Any]) -> None:
    """Fail where an event is not of a type."""
    schema = type["data_schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(event["data"], schema, format_checker=jsonschema.FormatChecker())
    assert event["type"] == type["id"]
    assert event["subject"].partition("/")[0] == type["subject"].partition("/")[0]


async def test_examples_are_of_their_schemas(house: House):
    """Those that integrations are written for are among them."""
    types = await types_of(house)
    assert {"agent.execution.completed", "knowledge.updated"} <= types.keys()
    for name, type in types.items():
        check(type, type["example"])
        assert orjson.loads((await house.run("event-types.get", id=name)).body) == type
    assert (await refused(house.run("event-types.get", id="agent.painted"))).code == "RESOURCE_NOT_FOUND"


async def test_events_are_of_their_types(house: House):
    """Whatever is done to resources, each event's type is known, and its data as the schema says."""
    types = await types_of(house)
    async with relaying(house.url) as relay:
        await stirred(house, random.Random(4), 60)
        await relay.settled()
        told = await ledger(house)
    emitted = {name for name, type in types.items() if type["status"] == "emitted"}
    # Those of deliveries are checked where deliveries are.
    assert {each["type"] for each in told} == emitted - {each.name for each in NOTICES}
    for event in told:
        check(types[event["type"]], event)
