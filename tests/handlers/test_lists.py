"""Lists: filters and sorting as a model of them says, selections of fields, and what is refused."""

import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from core.operations.results import Page
from tests.handlers.house import House, refused
from tests.handlers.list_model import Item, matches, ordered
from tests.harness.organisations import Organisation, Organisations

NAMES = ["Alpha", "alpha", "Älpha", "a%b_c\\d", 'quo"te', "it's", "日本", "z", "$x", "a,b", "null", "5", "😀 grin"]
TEXTS = ["x", "y", "5", "05", "true", "null", 'a"b', "a\\b", "a'b", "é", "😀", "2026-01-01", "$.a", "x || true", "^x.*"]
OTHERS: list[Any] = [5, 5.0, 5.5, -3, 0, 10**15, 1e300, True, False, None, [], {}, ["x", 5], ["y", ["x"]]]
VALUES: list[Any] = [*TEXTS, *OTHERS]
WORDS = [
    "x",
    "y",
    "5",
    "5.0",
    "05",
    "5e0",
    "-3",
    "true",
    "false",
    "null",
    "é",
    "😀",
    'a"b',
    "a\\b",
    "a'b",
    "x || true",
    ".*",
]
PATHS = ["metadata.team", "metadata.a.b", "metadata.list.k", "data.v", "metadata.none", 'metadata.q"k', "metadata.é"]
OPERATORS = ["eq", "ne", "in", "gt", "gte", "lt", "lte", "prefix", "contains"]


def body_of(dice: random.Random) -> dict[str, Any]:
    """Return a random twin."""
    some: dict[str, Any] = {
        "team": dice.choice(VALUES),
        "a": {"b": dice.choice(VALUES)},
        "list": [{"k": dice.choice(VALUES)} for _ in range(dice.randrange(3))],
        'q"k': dice.choice(VALUES),
        "é": dice.choice(VALUES),
    }
    metadata = {name: value for name, value in some.items() if dice.random() < 0.6}
    data = {"v": dice.choice(VALUES)} if dice.random() < 0.5 else dice.choice(VALUES)
    kind, status = dice.choice(["a", "b", "A"]), dice.choice(["on", "off"])
    return {"name": dice.choice(NAMES), "type": kind, "status": status, "metadata": metadata, "data": data}


def filter_of(dice: random.Random, items: list[Item]) -> tuple[str, str, Any]:
    """Return field, operator and value of a random filter."""
    field = dice.choice([*PATHS, "name", "type", "status", "created_at", "updated_at", "id"])
    some = dice.choice(items)
    if field in PATHS:
        operator = dice.choice([*OPERATORS, "exists"])
        if operator == "exists":
            return field, operator, dice.choice([True, False, "true", "false"])
        typed = operator in ("eq", "ne", "in") and dice.random() < 0.3
        scalars = [value for value in VALUES if not isinstance(value, list | dict)]
        one: Callable[[], Any] = lambda: dice.choice(scalars if typed else WORDS)  # noqa: E731
        return field, operator, [one(), one()] if operator == "in" else one()
    value: Any = some[field]
    if field == "id":
        return field, (operator := dice.choice(["eq", "ne", "in"])), [value] if operator == "in" else value
    if field.endswith("_at"):
        operator = dice.choice(OPERATORS[:-2])
        value = dice.choice([value, value[:10], value.replace("Z", "+00:00")])
    else:
        operator = dice.choice(OPERATORS)
        value = value[: dice.randrange(1, len(value) + 1)] if operator in ("prefix", "contains") else value
    return field, operator, [value, value] if operator == "in" else value


async def stocked(house: House, dice: random.Random, count: int) -> list[Item]:
    """Make `count` twins, some of one moment, some changed later; returns them as they are."""
    made: list[Item] = []
    for _ in range(count):
        house.clock.jump(dice.choice([0, 0, 1, 86_400]))
        document = await house.create("twins", **body_of(dice))
        if dice.random() < 0.3:
            house.clock.jump(1)
            document = await house.run("twins.update", id=str(document.id), body={"name": dice.choice(NAMES)})
        made.append(orjson.loads(document.body))
    return made


@pytest.mark.parametrize("seed", range(4))
async def test_filters_and_sorting_are_those_of_the_model(house: House, organisations: Organisations, seed: int):
    """Any filters with any order give what a few lines of Python give; another organisation's rows are never among them."""
    dice = random.Random(seed)
    items = await stocked(house, dice, 50)
    await stocked(House(house.url, house.runner, house.clock, (await organisations.create()).caller()), dice, 10)
    for _ in range(150):
        filters = [filter_of(dice, items) for _ in range(dice.randrange(1, 4))]
        wanted: dict[str, dict[str, Any]] = {}
        for field, operator, value in filters:
            wanted.setdefault(field, {})[operator] = value
        held = [(field, operator, value) for field, each in wanted.items() for operator, value in each.items()]
        sort = dice.sample(["name", "type", "status", "created_at", "updated_at"], dice.randrange(1, 4))
        sort = [dice.choice(["", "-"]) + name for name in sort]
        page: Page = await house.run("twins.list", filter=wanted, sort=sort, per_page=100)
        expected = ordered([item for item in items if all(matches(item, *each) for each in held)], sort)
        found = [orjson.loads(item)["id"] for item in page.items]
        assert (found, page.total) == (expected, len(expected)), (seed, wanted, sort)


async def test_search_takes_filters_and_sort_beside_it(house: House):
    """`q` ranks unless `sort` is given; what it finds is filtered like everything else."""
    for name, team in (("pump", "a"), ("main pump", "a"), ("pump", "b"), ("valve", "a")):
        house.clock.jump(1)
        await house.create("agents", name=name, metadata={"team": team, "near": "pump"})
    page: Page = await house.run("agents.list", q="PUMP", filter={"metadata.team": "a"})
    assert [orjson.loads(item)["name"] for item in page.items] == ["pump", "main pump", "valve"]
    page = await house.run("agents.list", q="pump", filter={"metadata.team": "a"}, sort="-name")
    assert [orjson.loads(item)["name"] for item in page.items] == ["valve", "pump", "main pump"]
    assert (await house.run("agents.list", q="um", type="assistant")).total == 4


async def test_filters_see_what_a_change_left(house: House):
    """What is indexed beside the document changes with it; NUL in it is left out, and nothing that looks like it."""
    made = await house.create("knowledge", name="k", metadata={"team": "a\0b", "path": "c:\\u0000"}, data={"x": 1})

    async def total(**wanted: Any) -> int:
        return (await house.run("knowledge.list", filter=wanted)).total

    assert await total(**{"metadata.team": "ab", "metadata.path": "c:\\u0000", "data.x": 1}) == 1
    await house.run("knowledge.update", id=str(made.id), body={"metadata": {"team": "c"}, "data": None})
    assert (await total(**{"metadata.team": "ab"}), await total(**{"data.x": 1})) == (0, 0)
    assert await total(**{"metadata.team": "c"}) == 1
    await house.run("knowledge.update", id=str(made.id), body={"metadata": {"long": "x" * 17_000}})
    assert await total(**{"metadata.team": "c"}) == 0  # over 16 KiB nothing of it is seen


async def test_restricted_caller_filters_and_counts_its_own(house: House, organisation: Organisation):
    """A key for some resources finds no other by any filter, and counts none."""
    mine = await house.create("agents", name="mine", metadata={"team": "x"})
    await house.create("agents", name="other", metadata={"team": "x"})
    caller = organisation.caller(resource_ids=[mine.id])
    for wanted in (
        {"filter": {"metadata.team": "x"}},
        {"q": "team x other"},
        {"q": "other"},
        {"sort": "name"},
        {"limit": 1},
    ):
        page: Page = await house.run("agents.list", caller, **wanted)
        assert [orjson.loads(item)["id"] for item in page.items] in ([], [str(mine.id)])
        assert page.total == len(page.items)


async def test_fields_make_smaller_documents(house: House):
    """What is named is there, with the id, and nothing else; a name with dots is a part of an object."""
    made = await house.create("agents", name="a", metadata={"team": "x", "more": {"a": 1, "b": [{"c": 1, "d": 2}]}})
    for wanted, expected in (
        ("name", {"name": "a"}),
        ("name,metadata.team", {"name": "a", "metadata": {"team": "x"}}),
        (["metadata.more.b.c", "metadata.gone"], {"metadata": {"more": {"b": [{"c": 1}]}}}),
        ("metadata,metadata.team", {"metadata": {"team": "x", "more": {"a": 1, "b": [{"c": 1, "d": 2}]}}}),
        ("version,id", {"version": 1}),
    ):
        page: Page = await house.run("agents.list", fields=wanted)
        assert [orjson.loads(item) for item in page.items] == [{"id": str(made.id), **expected}]


@pytest.mark.parametrize(
    ("wanted", "code", "field"),
    [
        ({"per_page": 101}, "VALIDATION_ERROR", "per_page"),
        ({"limit": 101}, "VALIDATION_ERROR", "limit"),
        ({"limit": 1000}, "VALIDATION_ERROR", "limit"),
        ({"limit": 0}, "VALIDATION_ERROR", "limit"),
        ({"page": 1, "limit": 5}, "VALIDATION_ERROR", "page"),
        ({"per_page": 5, "after": "x"}, "VALIDATION_ERROR", "per_page"),
        ({"after": "x", "before": "x"}, "VALIDATION_ERROR", "before"),
        ({"sort": "colour"}, "UNKNOWN_PARAMETER", "sort"),
        ({"sort": "document"}, "UNKNOWN_PARAMETER", "sort"),
        ({"sort": "name; DROP TABLE agents"}, "UNKNOWN_PARAMETER", "sort"),
        ({"sort": "--name"}, "UNKNOWN_PARAMETER", "sort"),
        ({"sort": ""}, "UNKNOWN_PARAMETER", "sort"),
        ({"sort": "name,-name"}, "VALIDATION_ERROR", "sort"),
        ({"sort": ["name"] * 9}, "VALIDATION_ERROR", "sort"),
        ({"fields": "id,colour"}, "UNKNOWN_PARAMETER", "fields"),
        ({"fields": "metadata..a"}, "VALIDATION_ERROR", "fields"),
        ({"fields": ["metadata." + "a." * 40 + "a"]}, "VALIDATION_ERROR", "fields"),
        ({"fields": ["id"] * 60}, "VALIDATION_ERROR", "fields"),
        ({"filter": {"colour": "red"}}, "UNKNOWN_PARAMETER", "filter[colour]"),
        ({"filter": {"metadata": "red"}}, "UNKNOWN_PARAMETER", "filter[metadata]"),
        ({"filter": {"org_id": "x"}}, "UNKNOWN_PARAMETER", "filter[org_id]"),
        ({"filter": {"1=1 OR name": "x"}}, "UNKNOWN_PARAMETER", "filter[1=1 OR name]"),
        ({"filter": {"name": {"like": "x"}}}, "UNKNOWN_PARAMETER", "filter[name][like]"),
        ({"filter": {"id": {"gt": "x"}}}, "UNKNOWN_PARAMETER", "filter[id][gt]"),
        ({"filter": {"metadata.a": {"= ''": "x"}}}, "UNKNOWN_PARAMETER", "filter[metadata.a][= '']"),
        ({"filter": {"id": "no-uuid"}}, "VALIDATION_ERROR", "filter[id]"),
        ({"filter": {"created_at": {"gte": "yesterday"}}}, "VALIDATION_ERROR", "filter[created_at][gte]"),
        ({"filter": {"created_at": {"gte": "2026-02-30"}}}, "VALIDATION_ERROR", "filter[created_at][gte]"),
        ({"filter": {"created_at": "2026-01-01T00:00:00"}}, "VALIDATION_ERROR", "filter[created_at]"),
        ({"filter": {"created_at": "0001-01-01T00:00:00+23:59"}}, "VALIDATION_ERROR", "filter[created_at]"),
        ({"filter": {"created_at": "٢٠٢٦-01-01"}}, "VALIDATION_ERROR", "filter[created_at]"),
        ({"filter": {"name": "a\0b"}}, "VALIDATION_ERROR", "filter[name]"),
        ({"filter": {"name": "a\ud800b"}}, "VALIDATION_ERROR", "filter[name]"),
        ({"filter": {"name": 5}}, "VALIDATION_ERROR", "filter[name]"),
        ({"filter": {"name": {"prefix": ""}}}, "VALIDATION_ERROR", "filter[name][prefix]"),
        ({"filter": {"name": {"in": []}}}, "VALIDATION_ERROR", "filter[name][in]"),
        ({"filter": {"name": {"in": ["a"] * 101}}}, "VALIDATION_ERROR", "filter[name][in]"),
        ({"filter": {"name": "a" * 1001}}, "VALIDATION_ERROR", "filter[name]"),
        ({"filter": {"metadata.a": "a\0b"}}, "VALIDATION_ERROR", "filter[metadata.a]"),
        ({"filter": {"metadata.a": "a\udfffb"}}, "VALIDATION_ERROR", "filter[metadata.a]"),
        ({"filter": {"metadata.a\0": "x"}}, "VALIDATION_ERROR", "filter[metadata.a\0]"),
        ({"filter": {"metadata..a": "x"}}, "VALIDATION_ERROR", "filter[metadata..a]"),
        (
            {"filter": {"metadata." + ".".join("a" * 20): "x"}},
            "VALIDATION_ERROR",
            f"filter[metadata.{'.'.join('a' * 20)}]",
        ),
        ({"filter": {"metadata.a": {"eq": {"b": 1}}}}, "VALIDATION_ERROR", "filter[metadata.a][eq]"),
        ({"filter": {"metadata.a": [[1]]}}, "VALIDATION_ERROR", "filter[metadata.a]"),
        ({"filter": {"metadata.a": {"gt": True}}}, "VALIDATION_ERROR", "filter[metadata.a][gt]"),
        ({"filter": {"metadata.a": {"gt": float("inf")}}}, "VALIDATION_ERROR", "filter[metadata.a][gt]"),
        ({"filter": {"metadata.a": float("nan")}}, "VALIDATION_ERROR", "filter[metadata.a]"),
        ({"filter": {"metadata.a": 10**60}}, "VALIDATION_ERROR", "filter[metadata.a]"),
        ({"filter": {"metadata.a": {"exists": "maybe"}}}, "VALIDATION_ERROR", "filter[metadata.a][exists]"),
        ({"filter": {"metadata.a": {"contains": ""}}}, "VALIDATION_ERROR", "filter[metadata.a][contains]"),
        ({"filter": {f"metadata.a{number}": "x" for number in range(10_000)}}, "VALIDATION_ERROR", "filter"),
        ({"filter": {"metadata.a": {str(number): "x" for number in range(10_000)}}}, "VALIDATION_ERROR", "filter"),
        ({"filter": "x"}, "VALIDATION_ERROR", "filter"),
        ({"type": "a\ud800"}, "VALIDATION_ERROR", "type"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_its_name(house: House, wanted: Any, code: str, field: str):
    """400 for a name that the list does not have, 422 for a value that is none; never a 500."""
    error = await refused(house.run("agents.list", **wanted))
    assert (error.code, error.details[0].field) == (code, field)


@pytest.mark.parametrize(
    "number", ["1e308", "-1e-300", "9" * 40, "0." + "1" * 40, "1e999", "9" * 500, "-0", "1E+2", "0x1F", "1e-999"]
)
async def test_numbers_that_are_hardly_any_are_compared_or_are_texts(house: House, number: str):
    """No number, and nothing that looks like one, is too much for PostgreSQL."""
    await house.create("agents", name="a", metadata={"n": 1, "text": number})
    for operator in ("eq", "ne", "gt", "gte", "lt", "lte"):
        await house.run("agents.list", filter={"metadata.n": {operator: number}})
    assert (await house.run("agents.list", filter={"metadata.text": number})).total == 1


async def test_values_are_never_sql_nor_jsonpath(house: House):
    """What a value says is compared, letter by letter, and changes no other row's fate."""
    for text in (
        "' OR 1=1 --",
        '" || true || "',
        'x" || exists($.*) || "',
        "$1",
        "%",
        "?",
        "??",
        "{}",
        "{where}",
        "\\",
        "*/",
        "$$",
    ):
        made = await house.create("agents", name=text, metadata={"v": text, text.replace(".", "_"): 1})
        for wanted in (
            {"name": text},
            {"name": {"contains": text}},
            {"metadata.v": text},
            {"metadata.v": {"prefix": text}},
            {"metadata.v": {"contains": text}},
            {f"metadata.{text.replace('.', '_')}": 1},
        ):
            page: Page = await house.run("agents.list", filter=wanted)
            assert [orjson.loads(item)["id"] for item in page.items] == [str(made.id)], wanted
        await house.run("agents.delete", id=str(made.id))
