"""The log is the truth: agents, knowledge bases and twins are a fold of their events, column by column."""

import os
import random
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from core.store.database import connect_as
from handlers.agents.operations import Agents
from handlers.knowledge.operations import Knowledge
from handlers.resources.search import searchable
from handlers.twins.operations import Twins
from tests.handlers.house import House, refused
from tests.harness.relaying import relaying

KINDS = {"agents": Agents(), "knowledge": Knowledge(), "twins": Twins()}
STEPS = 150
VALUES: list[Any] = ["x", "É\n y", 5, 1.5, None, True, [], {}, {"a": ["b", {"c": None}]}, "\x00", "z" * 40_000]


def body_of(dice: random.Random, kind: str) -> dict[str, Any]:
    """Return a random body, large now and then."""
    body: dict[str, Any] = {"name": dice.choice(["Ada", "  Bob ", "日本", "a%_"])}
    if dice.random() < 0.7:
        body["metadata"] = {"v": dice.choice(VALUES), "w": dice.choice(VALUES)}
    if kind == "twins" and dice.random() < 0.5:
        body["data"] = dice.choice(VALUES)
    if kind == "knowledge" and dice.random() < 0.5:
        body["data"] = dice.choice([{"k": dice.choice(VALUES)}, [dice.choice(VALUES)]])
    if dice.random() < 0.5:
        body |= {"type": dice.choice("pq"), "status": dice.choice(["on", "off"])}
    return body


async def step(house: House, dice: random.Random, there: list[tuple[str, str]]) -> None:
    """Create, change, replace or delete something; some of it is refused."""
    house.clock.jump(dice.choice([0, 1, 7, -2]))
    kind = dice.choice(list(KINDS))
    if not there or dice.random() < 0.4:
        made = await house.create(kind, **body_of(dice, kind))
        there.append((kind, str(made.id)))
        return
    kind, id = dice.choice(there)
    match dice.choice(["update", "update", "replace", "delete", "refused"]):
        case "delete":
            await house.run(f"{kind}.delete", id=id)
            there.remove((kind, id))
        case "refused":
            error = await refused(house.run(f"{kind}.update", id=id, if_match='"0"', body={"name": "no"}))
            assert error.code == "PRECONDITION_FAILED"
        case how:
            await house.run(f"{kind}.{how}", id=id, body=body_of(dice, kind))


def fold(events: list[Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what events lead to: by kind and id the last document."""
    state: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
    for event in events:
        kind, id = event["subject"].split("/")
        if event["type"].endswith(".deleted"):
            assert state[kind].pop(id)["version"] == event["data"]["version"]
        else:
            assert event["data"]["version"] == state[kind].get(id, {"version": 0})["version"] + 1
            state[kind][id] = event["data"]
    return state


def row_of(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a resource's row, as its document says."""
    name, type = document["name"], document["type"]
    return {
        "id": document["id"],
        "version": document["version"],
        "name": name,
        "type": type,
        "status": document["status"],
        "created_at": datetime.fromisoformat(document["created_at"]),
        "updated_at": datetime.fromisoformat(document["updated_at"]),
        "document": document,
        "search": searchable(name, type, *KINDS[kind].searched(document)),
    }


async def check_fold(url: str, org_id: UUID, there: Collection[tuple[str, str]], seed: int) -> None:
    """Rebuild the organisation's tables from its log, which has all: they equal those that are there, and have what is `there`."""
    connection = await connect_as(url, "hub_owner")
    try:
        events = await connection.fetch("SELECT envelope FROM events WHERE org_id = $1 ORDER BY position", org_id)
        state = fold([orjson.loads(row["envelope"]) for row in events])
        assert {(kind, id) for kind, documents in state.items() for id in documents} == set(there), seed
        for kind, documents in state.items():
            rebuilt = {id: row_of(kind, document) for id, document in documents.items()}
            query = f"SELECT * FROM {kind} WHERE org_id = $1"  # noqa: S608 - a table's name
            assert rebuilt == _kept(await connection.fetch(query, org_id)), (seed, kind)
    finally:
        await connection.close()


def _kept(rows: list[Any]) -> dict[str, dict[str, Any]]:
    kept = {str(row["id"]): {**row, "id": str(row["id"]), "document": orjson.loads(row["document"])} for row in rows}
    for row in kept.values():
        del row["org_id"], row["attributes"]  # the caller's; what a trigger makes of the document
    return kept


async def test_tables_are_a_fold_of_the_log(house: House):
    """After a random schedule, whose seed a failure tells, the tables rebuilt from the log equal those that are there."""
    seed = int(os.environ.get("FOLD_SEED", "2024"))
    dice = random.Random(seed)
    there: list[tuple[str, str]] = []
    async with relaying(house.url) as relay:
        for _ in range(STEPS):
            await step(house, dice, there)
        await relay.settled()
    await check_fold(house.url, house.caller.org_id, there, seed)
