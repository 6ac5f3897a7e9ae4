"""State as of a past moment, against a ledger of the states that were: one resource, and lists with filters, order and total."""

import random
from typing import Any

import orjson
import pytest

from core.operations.results import Page
from tests.handlers.house import House, refused
from tests.handlers.test_fold import KINDS, step
from tests.harness.organisations import Organisations
from tests.harness.relaying import Relaying, relaying

SEED = 77
STEPS = 60

# By kind the documents that are there, as GET answers them.
State = dict[str, dict[str, Any]]


async def state_of(house: House) -> State:
    """Return the state of now."""
    state: State = {}
    for kind in KINDS:
        page: Page = await house.run(f"{kind}.list", per_page=100)
        state[kind] = {each["id"]: each for each in map(orjson.loads, page.items)}
    return state


async def moment_of(house: House) -> tuple[int, str]:
    """Return the last position, and when it was given."""
    query = "SELECT position, to_json(recorded_at) AS moment FROM heads WHERE org_id = $1"
    (row,) = await house.rows(query, house.caller.org_id)
    return row["position"], orjson.loads(row["moment"])


async def recorded(house: House, relay: Relaying, dice: random.Random) -> list[tuple[int, str, State]]:
    """Do things at random; return position, time and state after each that has changed something."""
    there: list[tuple[str, str]] = []
    ledger: list[tuple[int, str, State]] = []
    for _ in range(STEPS):
        await step(house, dice, there)
        await relay.settled()
        position, moment = await moment_of(house)
        if not ledger or position > ledger[-1][0]:
            ledger.append((position, moment, await state_of(house)))
    return ledger


async def listed(house: House, kind: str, **wanted: Any) -> list[dict[str, Any]]:
    page: Page = await house.run(f"{kind}.list", per_page=100, **wanted)
    assert page.total == len(page.items)
    return [orjson.loads(item) for item in page.items]


def newest(documents: dict[str, Any]) -> list[Any]:
    return sorted(documents.values(), key=lambda each: (each["created_at"], each["id"]), reverse=True)


async def test_past_is_what_the_ledger_says(house: House):
    """At every position and time of a random schedule, with each resource that ever was."""
    dice = random.Random(SEED)
    async with relaying(house.url) as relay:
        ledger = await recorded(house, relay, dice)
    ever = {(kind, id) for _, _, state in ledger for kind, documents in state.items() for id in documents}
    for position, moment, state in ledger:
        as_of = dice.choice([str(position), moment])
        for kind, documents in state.items():
            assert await listed(house, kind, as_of=as_of) == newest(documents), (SEED, as_of, kind)
            status = dice.choice(["on", "off"])
            expected = sorted(
                (each for each in documents.values() if each["status"] == status),
                key=lambda each: (each["name"], each["id"]),
            )
            assert await listed(house, kind, as_of=as_of, status=status, sort="name") == expected, (SEED, as_of)
            # Metadata of over 16 KiB has, for filters, nothing in it.
            small = [each for each in newest(documents) if len(orjson.dumps(each["metadata"])) < 16_384]
            holding = [each for each in small if each["metadata"].get("v") == "x"]
            assert await listed(house, kind, as_of=as_of, filter={"metadata.v": "x"}) == holding, (SEED, as_of)
        for kind, id in dice.sample(sorted(ever), k=min(6, len(ever))):
            if id in state[kind]:
                found = await house.run(f"{kind}.get", id=id, as_of=as_of)
                assert orjson.loads(found.body) == state[kind][id], (SEED, as_of)
            else:
                error = await refused(house.run(f"{kind}.get", id=id, as_of=as_of))
                assert error.code == "RESOURCE_NOT_FOUND", (SEED, as_of)


async def test_past_is_walked_while_the_present_changes(house: House):
    """From cursor to cursor a list of then is the same, whatever is made and deleted meanwhile."""
    async with relaying(house.url) as relay:
        made = [str((await house.create("agents", name=f"n{number}")).id) for number in range(9)]
        await relay.settled()
        position, _ = await moment_of(house)
        seen: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page: Page = await house.run("agents.list", limit=2, sort="name", as_of=str(position), **cursor)
            assert page.window is not None
            assert page.total == len(made)
            seen += [orjson.loads(item)["id"] for item in page.items]
            if not page.window.has_more:
                break
            cursor = {"after": page.window.after}
            await house.run("agents.delete", id=made[len(seen) - 1])
            await house.create("agents", name="n0")
            await relay.settled()
    assert seen == made


@pytest.mark.parametrize(
    ("as_of", "code"),
    [("soon", "INVALID_FORMAT"), ("", "INVALID_FORMAT"), ("-1", "INVALID_FORMAT"), ("2", "VALUE_OUT_OF_RANGE")],
)
async def test_moment_that_is_none_is_refused(house: House, as_of: str, code: str):
    """And a position that the log does not have yet."""
    async with relaying(house.url) as relay:
        made = await house.create("twins", name="Pump")
        await relay.settled()
    for work in (house.run("twins.list", as_of=as_of), house.run("twins.get", id=str(made.id), as_of=as_of)):
        error = await refused(work)
        assert [(each.field, each.code) for each in error.details] == [("as_of", code)]
    for before in ("0", "2020-01-01"):
        assert await listed(house, "twins", as_of=before) == []
    assert len(await listed(house, "twins", as_of="2999-01-01")) == 1
    assert (await refused(house.run("twins.list", as_of="1", q="pump"))).details[0].field == "q"


async def test_past_is_the_organisations_own(house: House, organisations: Organisations):
    """Another organisation, and a caller for other resources, find nothing there."""
    other = await organisations.create()
    async with relaying(house.url) as relay:
        made = await house.create("twins", name="Pump")
        await relay.settled()
    few = house.caller_for(made.id)
    for caller, count in ((other.caller(), 0), (few, 1), (house.caller_for(), 0)):
        page: Page = await house.run("twins.list", caller, as_of="2999-01-01")
        assert page.total == count
    error = await refused(house.run("twins.get", other.caller(), id=str(made.id), as_of="2999-01-01"))
    assert error.code == "RESOURCE_NOT_FOUND"
