"""A twin's model and scenarios are checked where they are written: refused with their places, and nothing is changed."""

from typing import Any

import orjson
import pytest

from tests.handlers.house import House, refused

MODEL: dict[str, Any] = {
    "engine": "network",
    "nodes": {
        "maker": {"kind": "supplier"},
        "store": {
            "kind": "stock",
            "initial": 90,
            "source": "maker",
            "policy": {"policy": "s_S", "reorder_point": 30, "order_up_to": 90},
            "lead_time": 5,
        },
        "customers": {"kind": "demand", "stock": "store", "interval": 1, "quantity": 3},
    },
}
GOOD: dict[str, Any] = {
    "parameters": {"lift": {"default": 1.5, "minimum": 1, "maximum": 3}},
    "changes": [{"node": "customers", "what": "demand", "factor": "lift", "begin": "horizon / 2"}],
    "patch": {"nodes": {"store": {"initial": 150}}},
}
INVALID, MISSING, RANGE = "INVALID_FORMAT", "MISSING_REQUIRED_FIELD", "VALUE_OUT_OF_RANGE"
CHANGE = "scenarios.own.changes[0]"


def changed(**more: Any) -> dict[str, Any]:
    return {"own": {**GOOD, "changes": [{**GOOD["changes"][0], **more}]}}


def modelled(**store: Any) -> dict[str, Any]:
    nodes = MODEL["nodes"]
    return {**MODEL, "nodes": {**nodes, "store": {**nodes["store"], **store}}}


WRONG: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"model": modelled(policy={"policy": "s_S", "order_up_to": -1})}, [
        ("model.nodes.store.policy.reorder_point", MISSING), ("model.nodes.store.policy.order_up_to", RANGE),
    ]),
    ({"model": modelled(lead_time={"distribution": "normal", "mean": -3, "deviation": 1})}, [
        ("model.nodes.store.lead_time.mean", RANGE),
    ]),
    ({"model": modelled(source="nobody")}, [("model.nodes.store.source", INVALID)]),
    ({"model": {"engine": "flows", "stocks": {"a": {"initial": 1}}, "flows": {"f": {"target": "a", "rate": "b +"}}}}, [
        ("model.flows.f.rate", INVALID),
    ]),
    ({"scenarios": {"own": {"changes": [{"node": "a b", "what": "demand", "factor": 1}]}}}, [(f"{CHANGE}.node", INVALID)]),
    ({"scenarios": {"own": {"changes": [{"node": "customers", "what": "demand"}]}}}, [(f"{CHANGE}.factor", MISSING)]),
    ({"scenarios": changed(factor=-1)}, [(f"{CHANGE}.factor", RANGE)]),
    ({"scenarios": changed(factor="lift *")}, [(f"{CHANGE}.factor", INVALID)]),
    ({"scenarios": changed(begin="__import__('os')")}, [(f"{CHANGE}.begin", INVALID)]),
    ({"scenarios": {"own": {**GOOD, "parameters": {"lift": {"default": 4, "maximum": 3}}}}}, [
        ("scenarios.own.parameters.lift.default", RANGE),
    ]),
    ({"model": MODEL, "scenarios": changed(node="nobody")}, [(f"{CHANGE}.node", INVALID)]),
    ({"model": MODEL, "scenarios": changed(end="1")}, [(f"{CHANGE}.end", RANGE)]),
    ({"model": MODEL, "scenarios": changed(factor="1 / (lift - 1.5)")}, [(f"{CHANGE}.factor", INVALID)]),
    ({"model": MODEL, "scenarios": {"own": {"patch": {"nodes": {"store": {"source": "nobody"}}}}}}, [
        ("scenarios.own.patch.nodes.store.source", INVALID),
    ]),
    ({"model": MODEL, "scenarios": {"own": {"patch": {"nodes": {"store": {"initial": -1}}}}}}, [
        ("scenarios.own.patch.nodes.store.initial", RANGE),
    ]),
]  # fmt: skip


def places(error: Any) -> list[tuple[str, str]]:
    assert error.code == "VALIDATION_ERROR"
    return [(detail.field, detail.code) for detail in error.details]


@pytest.mark.parametrize(("fields", "wrong"), WRONG, ids=[str(number) for number in range(len(WRONG))])
async def test_what_cannot_be_run_is_refused(house: House, fields: dict[str, Any], wrong: list[tuple[str, str]]):
    """By create, PUT and merge patch alike; no place has the name of a kind that a part could have been of."""
    assert places(await refused(house.create("twins", name="A", **fields))) == wrong
    made = await house.create("twins", name="A", model=MODEL, scenarios={"own": GOOD})
    id = str(made.id)
    assert places(await refused(house.run("twins.replace", id=id, body={"name": "A", **fields}))) == wrong
    patch = [{"op": "add", "path": f"/{name}", "value": value} for name, value in fields.items()]
    assert places(await refused(house.run("twins.update", id=id, patch=patch))) == wrong
    assert await house.run("twins.get", id=id) == made


async def test_without_a_model_names_of_nodes_are_whatever_the_data_comes_to(house: House):
    """So they are looked at when it is run; and a model that comes later is held against the scenarios that are there."""
    made = await house.create("twins", name="A", scenarios=changed(node="stock_of_tomorrow"))
    error = await refused(house.run("twins.update", id=str(made.id), body={"model": MODEL}))
    assert places(error) == [(f"{CHANGE}.node", INVALID)]


async def test_what_is_wrong_in_several_scenarios_is_told_at_once(house: House):
    wrong = {"one": changed(factor="(")["own"], "two": GOOD, "three": changed(node="nobody")["own"]}
    error = await refused(house.create("twins", name="A", model=MODEL, scenarios=wrong))
    assert [field for field, _ in places(error)] == [
        "scenarios.one.changes[0].factor",
        "scenarios.three.changes[0].node",
    ]


async def test_what_an_older_release_let_in_holds_nothing_else_up(house: House):
    """Data that comes each minute is written; who writes the scenario anew is refused."""
    made = await house.create("twins", name="A", model=MODEL, scenarios={"own": GOOD})
    document = orjson.loads(made.body)
    document["scenarios"]["own"]["changes"][0]["node"] = "nobody"
    query = "UPDATE twins SET document = $2 WHERE id = $1 RETURNING id"
    assert await house.rows(query, made.id, orjson.dumps(document).decode())
    changed_ = await house.run("twins.update", id=str(made.id), body={"data": {"orders": 1}})
    assert orjson.loads(changed_.body)["data"] == {"orders": 1}
    error = await refused(house.run("twins.update", id=str(made.id), body={"scenarios": changed(node="no_one")}))
    assert places(error) == [(f"{CHANGE}.node", INVALID)]
