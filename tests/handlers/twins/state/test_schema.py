"""A twin's data against its schema: wherever a twin is written, with the place, and bounded."""

from typing import Any

import pytest

from tests.handlers.house import House, refused

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["stock"],
    "properties": {"stock": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}},
    "additionalProperties": False,
}
GOOD: dict[str, Any] = {"stock": {"widgets": 42}}


def places(error: Any) -> list[tuple[str, str]]:
    assert error.code == "VALIDATION_ERROR"
    return [(detail.field, detail.code) for detail in error.details]


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        ({}, ("data.stock", "MISSING_REQUIRED_FIELD")),
        ({"stock": {"widgets": -1}}, ("data.stock.widgets", "VALUE_OUT_OF_RANGE")),
        ({"stock": {"widgets": "1"}}, ("data.stock.widgets", "INVALID_FORMAT")),
        ({**GOOD, "colour": 1}, ("data.colour", "INVALID_FORMAT")),
        ([], ("data", "INVALID_FORMAT")),
    ],
)
async def test_data_is_held_against_the_schema(house: House, data: Any, wrong: tuple[str, str]):
    """By create, PUT, merge patch and JSON Patch alike; nothing is changed."""
    assert places(await refused(house.create("twins", name="A", data_schema=SCHEMA, data=data))) == [wrong]
    made = await house.create("twins", name="A", data_schema=SCHEMA, data=GOOD)
    id = str(made.id)
    whole = {"name": "A", "data_schema": SCHEMA, "data": data}
    assert places(await refused(house.run("twins.replace", id=id, body=whole))) == [wrong]
    patch = [{"op": "add", "path": "/data", "value": data}]
    assert places(await refused(house.run("twins.update", id=id, patch=patch))) == [wrong]
    assert await house.run("twins.get", id=id) == made


async def test_merge_patch_is_judged_by_what_it_leaves(house: House):
    """Not by what it holds: a part is enough, and a schema that comes later judges the data that is there."""
    made = await house.create("twins", name="A", data_schema=SCHEMA, data=GOOD)
    id = str(made.id)
    await house.run("twins.update", id=id, body={"data": {"stock": {"bolts": 1}}})
    error = await refused(house.run("twins.update", id=id, body={"data": {"stock": {"bolts": "many"}}}))
    assert places(error) == [("data.stock.bolts", "INVALID_FORMAT")]
    error = await refused(house.run("twins.update", id=id, body={"data_schema": {"type": "array"}}))
    assert places(error)[0][0] == "data"
    # No data yet is as any schema says.
    await house.create("twins", name="A", data_schema=SCHEMA)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "thing"}, "data_schema.type"),
        ({"$ref": "https://example.com/schema"}, "data_schema.$ref"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "data_schema.$defs.a.items.$ref"),
        ({"pattern": "(?=a)"}, "data_schema.pattern"),
        ({"enum": [0] * 5_000}, "data_schema.enum"),
    ],
)
async def test_schema_that_cannot_be_taken_is_refused(house: House, schema: dict[str, Any], place: str):
    """As that of a type of events: nothing is fetched, and its work stands fast before."""
    error = await refused(house.create("twins", name="A", data_schema=schema))
    assert [field for field, _ in places(error)] == [place]


async def test_data_that_would_take_too_long_is_refused(house: House):
    """A large schema over much data; without the schema the data is taken."""
    schema = {"items": {"enum": list(range(500))}}
    data = [1] * 50_000
    error = await refused(house.create("twins", name="A", data_schema=schema, data=data))
    assert places(error) == [("data", "VALUE_OUT_OF_RANGE")]
    await house.create("twins", name="A", data=data)
