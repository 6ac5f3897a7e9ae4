"""Schemas of clients: what they may cost is known before they are run, and what is wrong with data is told."""

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import orjson
import pytest

from core.errors import HubError
from handlers.events.schemas import DIALECT, MOST_WORK, compiled

TEXT = {"type": "string"}


def refusal(schema: Any) -> tuple[str, str]:
    with pytest.raises(HubError) as caught:
        compiled(schema, "schema")
    (detail,) = caught.value.details
    return detail.field, detail.code


def problems(schema: Any, data: Any) -> list[tuple[str, str]]:
    ready = compiled(schema, "schema")
    return [(each.field, each.code) for each in ready.problems(data, ready.work(orjson.dumps(data)), "data")]


def nested(level: int, inner: Any, keyword: str = "not") -> Any:
    for _ in range(level):
        inner = {keyword: inner}
    return inner


def doubled(levels: int, names: str = "anyOf") -> dict[str, Any]:
    """Return a schema whose definitions each refer twice to the next: 2^levels in all."""
    twice = [{names: [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)]
    definitions = {f"d{level}": each for level, each in enumerate([*twice, TEXT])}
    return {"$defs": definitions, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("schema", "field", "code"),
    [
        ({"type": "strin"}, "schema.type", "INVALID_FORMAT"),
        ({"minimum": "x"}, "schema.minimum", "INVALID_FORMAT"),
        ({"properties": {"a": {"required": "b"}}}, "schema.properties.a.required", "INVALID_FORMAT"),
        ({"requird": ["a"]}, "schema.requird", "INVALID_FORMAT"),
        ({"items": [TEXT]}, "schema.items", "INVALID_FORMAT"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "schema.$schema", "INVALID_FORMAT"),
        ({"format": "regex"}, "schema.format", "INVALID_FORMAT"),
        # What reaches outside, or under other names than are followed here.
        ({"$ref": "http://169.254.169.254/latest"}, "schema.$ref", "INVALID_FORMAT"),
        ({"$ref": "file:///etc/passwd"}, "schema.$ref", "INVALID_FORMAT"),
        ({"$ref": DIALECT}, "schema.$ref", "INVALID_FORMAT"),
        ({"$ref": "#"}, "schema.$ref", "INVALID_FORMAT"),
        ({"$ref": "#/$defs/a"}, "schema.$ref", "INVALID_FORMAT"),
        ({"$ref": ["#"]}, "schema.$ref", "INVALID_FORMAT"),
        ({"$id": "http://a/b"}, "schema.$id", "INVALID_FORMAT"),
        ({"$anchor": "a"}, "schema.$anchor", "INVALID_FORMAT"),
        ({"$dynamicRef": "#a"}, "schema.$dynamicRef", "INVALID_FORMAT"),
        ({"properties": {"a": {"$defs": {}}}}, "schema.properties.a.$defs", "INVALID_FORMAT"),
        # What leads back to itself, at once or through others, used or not.
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}}, "schema.$defs.a.$ref", "INVALID_FORMAT"),
        (
            {"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}},
            None,
            "INVALID_FORMAT",
        ),
        # What grows with powers.
        (doubled(20), None, "VALUE_OUT_OF_RANGE"),
        (doubled(20, "oneOf"), None, "VALUE_OUT_OF_RANGE"),
        ({"unevaluatedProperties": False}, "schema.unevaluatedProperties", "INVALID_FORMAT"),
        ({"unevaluatedItems": False}, "schema.unevaluatedItems", "INVALID_FORMAT"),
        (nested(60, TEXT), None, "VALUE_OUT_OF_RANGE"),
        ({"enum": list(range(3000))}, "schema.enum", "VALUE_OUT_OF_RANGE"),
        ({"description": "x" * 40_000}, "schema", "VALUE_OUT_OF_RANGE"),
        # Patterns.
        ({"pattern": "(?=a)b"}, "schema.pattern", "INVALID_FORMAT"),
        ({"pattern": r"(a)\1"}, "schema.pattern", "INVALID_FORMAT"),
        ({"pattern": "((a{1,1000}){1,1000}){1,1000}"}, "schema.pattern", "INVALID_FORMAT"),
        ({"pattern": "("}, "schema.pattern", "INVALID_FORMAT"),
        ({"patternProperties": {"(?!a)": TEXT}}, None, "INVALID_FORMAT"),
        ({"pattern": "a" * 600}, "schema.pattern", "VALUE_OUT_OF_RANGE"),
        ({"allOf": [{"pattern": "a"}] * 60}, None, "VALUE_OUT_OF_RANGE"),
    ],
)
def test_schema_that_cannot_be_taken_is_refused(schema: Any, field: str | None, code: str):
    """With the place; nothing is fetched."""
    where, found = refusal(schema)
    assert found == code
    assert where == field if field is not None else where.startswith("schema")


def test_usual_schemas_are_taken():
    """Definitions that share, names that look like keywords, extensions."""
    address = {"type": "object", "properties": {"zip": {"type": "string", "pattern": "^[0-9]{5}$"}}}
    schema = {
        "$schema": DIALECT,
        "$defs": {"address": address},
        "type": "object",
        "required": ["$ref"],
        "properties": {
            "$ref": {"format": "date-time"},
            "pattern": {"enum": [{"$ref": "#"}]},
            "to": {"$ref": "#/$defs/address"},
            "from": {"anyOf": [{"$ref": "#/$defs/address"}, {"type": "null"}]},
        },
        "x-owner": {"team": "shop"},
        "additionalProperties": False,
    }
    assert problems(schema, {"$ref": "2026-01-01T00:00:00Z", "to": {"zip": "12345"}, "from": None}) == []
    assert problems(schema, {"$ref": "2026", "to": {"zip": "x"}}) == [
        ("data.$ref", "INVALID_FORMAT"),
        ("data.to.zip", "INVALID_FORMAT"),
    ]


def test_what_is_wrong_is_told_field_by_field():
    """With the codes of the catalogue, and never the value itself."""
    schema = {
        "required": ["id"],
        "properties": {
            "total": {"type": "number", "minimum": 0},
            "lines": {"items": {"type": "object", "required": ["sku"]}, "maxItems": 2},
        },
        "additionalProperties": False,
    }
    ready = compiled(schema, "schema")
    data = {"total": -1, "lines": [{"sku": "a"}, {}, "secret"], "more": 1}
    found = ready.problems(data, ready.work(orjson.dumps(data)), "data")
    assert {(each.field, each.code) for each in found} == {
        ("data.id", "MISSING_REQUIRED_FIELD"),
        ("data.total", "VALUE_OUT_OF_RANGE"),
        ("data.lines", "VALUE_OUT_OF_RANGE"),
        ("data.lines[1].sku", "MISSING_REQUIRED_FIELD"),
        ("data.lines[2]", "INVALID_FORMAT"),
        ("data.more", "INVALID_FORMAT"),
    }
    assert not any("secret" in each.message for each in found)


def costly() -> Iterator[tuple[Any, Any]]:
    """Return schemas with data that make as much work as is taken."""
    for each in (
        {"items": {"allOf": [{"type": "integer"}] * 450}},
        {"items": {"anyOf": [{"const": {"a": n}} for n in range(150)]}},
        {"items": {"oneOf": [{"minimum": n} for n in range(400)]}},
    ):
        size = MOST_WORK // compiled(each, "schema").values - 2
        yield each, ["x"] * size
        yield each, [{"a": 149}] * (size // 2)
    for pattern in ("^(a|b)*a(a|b){60}$", "(a+)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y"):
        yield {"pattern": pattern}, "ab" * (MOST_WORK // 8) + "!"
    yield {"uniqueItems": True}, [[n] for n in range(60_000)]
    yield {"multipleOf": 1e-300}, 1e300
    yield nested(30, {"items": TEXT}), ["x"] * 5_000


@pytest.mark.parametrize(("schema", "data"), [*costly()])
def test_work_that_is_taken_holds_nobody_for_long(schema: Any, data: Any):
    """At most a quarter of a second or so; here is room for slow machines. Errors of large data are not collected."""
    ready = compiled(schema, "schema")
    began = perf_counter()
    work = ready.work(orjson.dumps(data))
    assert work <= MOST_WORK * 1.1
    assert len(ready.problems(data, work, "data")) <= 50
    assert perf_counter() - began < 5
