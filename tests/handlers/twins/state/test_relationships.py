"""Relationships of twins: written with their twin, asked from both ends, walked through rings, and seen by who may."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.auth.caller import Caller
from core.ids import new_id
from core.operations.results import Page
from core.store.database import Database
from handlers.twins.state.walking import MOST_PATHS, Walk, Way, below, shortest
from tests.handlers.house import House, refused
from tests.handlers.twins.state.asking import asked
from tests.harness.organisations import Organisations


@pytest.fixture
async def other_caller(organisations: Organisations) -> Caller:
    """Somebody of another organisation."""
    return (await organisations.create()).caller()


def to(target: UUID, name: str = "contains", **metadata: Any) -> dict[str, Any]:
    return {"name": name, "target": str(target), "metadata": metadata}


async def twin(house: House, name: str, *relationships: dict[str, Any]) -> UUID:
    return (await house.create("twins", name=name, relationships=list(relationships))).id


async def relate(house: House, id: UUID, *relationships: dict[str, Any]) -> None:
    await house.run("twins.update", id=str(id), body={"relationships": list(relationships)})


async def near(house: House, id: UUID, caller: Caller | None = None, /, **more: Any) -> list[str]:
    """Return the neighbours as `contains>B` and `contains<A`."""
    page: Page = await house.run("twins.neighbours", caller, id=str(id), **more)
    signs = {"out": ">", "in": "<"}
    items = [orjson.loads(item) for item in page.items]
    return [f"{each['name']}{signs[each['direction']]}{each['twin']['name']}" for each in items]


def ways(told: Any) -> list[list[str]]:
    return [[step["twin"]["name"] for step in path["steps"]] for path in told["paths"]]


async def test_neighbours_are_seen_from_both_ends(house: House):
    """By direction and name, page by page, with the relationship's metadata."""
    c = await twin(house, "C")
    b = await twin(house, "B", to(c, "feeds", rate=3))
    a = await twin(house, "A", to(b), to(c), to(a_id := b, "cools"))
    assert a_id == b
    assert await near(house, a) == ["contains>C", "contains>B", "cools>B"]
    assert await near(house, b) == ["contains<A", "cools<A", "feeds>C"]
    assert await near(house, b, direction="out") == ["feeds>C"]
    assert await near(house, b, direction="in", name="cools") == ["cools<A"]
    assert await near(house, c, name="none") == []
    page: Page = await house.run("twins.neighbours", id=str(c), page=2, per_page=1)
    assert (len(page.items), page.total) == (1, 2)
    assert orjson.loads(page.items[0]) == {
        "id": f"{b}:feeds:{c}",
        "name": "feeds",
        "direction": "in",
        "twin": {"id": str(b), "name": "B", "type": "generic", "status": "active"},
        "metadata": {"rate": 3},
    }


async def test_targets_must_be_there(house: House, other_caller: Caller):
    """Each that is not is told with its place: of nobody, of another organisation, or not for the caller."""
    foreign = (await house.run("twins.create", other_caller, name="F")).id
    there = await twin(house, "B")
    given = [to(there), to(new_id()), to(foreign)]
    error = await refused(house.create("twins", name="A", relationships=given))
    fields = [detail.field for detail in error.details]
    assert (error.code, fields) == ("VALIDATION_ERROR", ["relationships[1].target", "relationships[2].target"])
    one, other = await twin(house, "A"), await twin(house, "C")
    change = {"relationships": [to(other)]}
    error = await refused(house.run("twins.update", house.caller_for(one), id=str(one), body=change))
    assert [detail.field for detail in error.details] == ["relationships[0].target"]
    error = await refused(relate(house, one, to(other), to(other, rate=1)))
    assert [detail.field for detail in error.details] == ["relationships[1]"]
    assert await near(house, one) == []


async def test_table_says_what_the_documents_say(house: House):
    """After each change of relationships, and of none; also when a target is deleted, and its source is changed later."""
    b, c = await twin(house, "B"), await twin(house, "C")
    a = await twin(house, "A", to(b), to(c))
    await relate(house, a, to(c, rate=2), to(c, "feeds"))
    assert await near(house, a) == ["contains>C", "feeds>C"]
    await house.run("twins.delete", id=str(c))
    assert await near(house, a) == []
    assert await house.rows("TABLE twin_relationships") == []
    # What it said stays in its document, and hinders no change.
    await house.run("twins.update", id=str(a), body={"status": "idle"})
    await relate(house, a, to(c, rate=2), to(b))
    assert await near(house, a) == ["contains>B"]
    await house.run("twins.delete", id=str(a))
    assert await house.rows("TABLE twin_relationships") == []


async def test_twin_may_be_related_to_itself(house: House):
    """And goes with that relationship."""
    a = await twin(house, "A")
    await relate(house, a, to(a, "mirrors"))
    assert await near(house, a) == ["mirrors>A", "mirrors<A"]
    await house.run("twins.delete", id=str(a))
    assert await house.rows("TABLE twin_relationships") == []


async def ring(house: House, names: Sequence[str]) -> list[UUID]:
    """Make twins in a ring, each of which contains the next."""
    made = [await twin(house, name) for name in names]
    for index, id in enumerate(made):
        await relate(house, id, to(made[(index + 1) % len(made)]))
    return made


async def test_rings_end(house: House):
    """Each twin once, in subtrees and on paths."""
    a, b, c = await ring(house, "ABC")
    told = await asked(house, "subtree", a)
    assert [(each["name"], each["depth"], each["parent_id"]) for each in told["twins"]] == [
        ("B", 1, str(a)),
        ("C", 2, str(b)),
    ]
    assert told["complete"]
    assert [each["name"] for each in (await asked(house, "subtree", a, depth=1))["twins"]] == ["B"]
    assert (await asked(house, "subtree", a, name="feeds"))["twins"] == []
    assert ways(await asked(house, "paths", a, to=str(c))) == [["B", "C"]]
    assert ways(await asked(house, "paths", a, to=str(c), direction="both")) == [["C"]]
    assert ways(await asked(house, "paths", a, to=str(c), direction="in")) == [["C"]]
    none = await asked(house, "paths", a, to=str(c), depth=1)
    assert (none["length"], none["paths"], none["complete"]) == (None, [], True)
    same = await asked(house, "paths", a, to=str(a))
    assert (same["length"], same["paths"]) == (0, [{"steps": []}])


async def test_all_shortest_paths_are_told_up_to_ten(house: House):
    """In a fixed order; longer ones are not."""
    goal = await twin(house, "Z")
    middle = [await twin(house, f"M{number:02}", to(goal)) for number in range(MOST_PATHS + 2)]
    start = await twin(house, "A", *[to(id) for id in middle])
    told = await asked(house, "paths", start, to=str(goal))
    assert (told["length"], len(told["paths"])) == (2, MOST_PATHS)
    assert ways(told)[0] == ["M00", "Z"]
    assert told == await asked(house, "paths", start, to=str(goal))
    longer = await twin(house, "B", to(start), to(middle[0]))
    assert ways(await asked(house, "paths", longer, to=str(goal))) == [["M00", "Z"]]


@pytest.mark.parametrize("goal", ["none", pytest.param(str(new_id()), id="an id of nothing")])
async def test_path_leads_to_a_twin_that_is_there(house: House, goal: str):
    """Else the goal is refused, and the start is not found."""
    a = await twin(house, "A")
    error = await refused(house.run("twins.paths", id=str(a), to=goal))
    assert [detail.field for detail in error.details] == ["to"]
    for what, more in (("difference", {}), ("neighbours", {}), ("paths", {"to": str(a)}), ("subtree", {})):
        assert (await refused(house.run(f"twins.{what}", id=goal, **more))).code == "RESOURCE_NOT_FOUND"


async def test_credential_for_some_twins_sees_no_others(house: House, other_caller: Caller):
    """Not beside, not below, and no way through them; another organisation sees nothing at all."""
    a, b, c, d = await ring(house, "ABCD")
    few = house.caller_for(a, b, d)
    assert await near(house, b, few) == ["contains<A"]
    assert [each["name"] for each in (await asked(house, "subtree", a, few))["twins"]] == ["B"]
    assert ways(await asked(house, "paths", b, few, to=str(d), direction="both")) == [["A", "D"]]
    assert (await asked(house, "paths", b, few, to=str(d)))["length"] is None
    for id, caller in ((c, few), (a, other_caller)):
        assert (await refused(house.run("twins.neighbours", caller, id=str(id)))).code == "RESOURCE_NOT_FOUND"
    assert [
        detail.field for detail in (await refused(house.run("twins.paths", few, id=str(a), to=str(c)))).details
    ] == ["to"]


async def test_what_is_read_is_bounded(house: House):
    """A walk that would read more ends, and what is shown says that it is not all."""
    leaves = [await twin(house, f"L{number}") for number in range(6)]
    root = await twin(house, "R", *[to(id) for id in leaves])
    database, way = Database(house.url, role="hub_app", size=1), Way("out", None, 10, None)
    try:
        async with database.read(house.caller.org_id) as db:
            walk = Walk(db, root, way, most=5)
            assert [level async for level in walk.levels()] == []
            assert not walk.is_whole
            found, is_whole = await shortest(db, root, leaves[0], way)
            assert (len(found or ()), is_whole) == (1, True)
            for most, is_all in ((4, False), (6, True)):
                twins, is_whole = await below(db, root, way, most)
                assert (list(twins), is_whole) == (leaves[:most], is_all)
    finally:
        await database.close()
