"""Twins as clients meet them on a fresh hub: what the documentation's snippets send, and a twin from its data to a better plan."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.harness.hub_process import HubProcess
from tests.harness.rest_client import Answer, RestClient
from tests.harness.stream_client import StreamClient, open_stream
from tests.harness.transcripts import ENDS
from tests.harness.waiting import eventually
from tests.journeys.test_page import hub, key, organisation

__all__ = ["hub", "key", "organisation"]  # fixtures: one hub, without a provider

VERSIONS = ("v1", "v2")
SPIKE = {"scenario": "demand_spike", "parameters": {"increase_percentage": 30}}
# What a planner asks of a spike, of any stock.
ASKED = ("stock_outs", "mean_backlog", "most_backlog", "backlog_at_end", "recovery_time")

# What is measured: the stock, of which there is too little below 50.
RULE = {
    "name": "runs_low",
    "metric": "on_hand",
    "when": "below",
    "threshold": 50,
    "hysteresis": 10,
    "severity": "warning",
}
WAREHOUSE = {
    "name": "Warehouse",
    "type": "logistics",
    "data": {"manager": "Ada"},
    "rules": [RULE],
    "model": {
        "engine": "network",
        "time_unit": "day",
        "horizon": 180,
        "nodes": {
            "supplier": {"kind": "supplier", "capacity": 24, "price": 6},
            "warehouse": {
                "kind": "stock",
                "initial": 320,
                "source": "supplier",
                "policy": {"policy": "s_S", "reorder_point": 150, "order_up_to": 250},
                "lead_time": {"distribution": "triangular", "low": 4, "mode": 5, "high": 8},
            },
            "customers": {
                "kind": "demand",
                "stock": "warehouse",
                "interval": {"distribution": "exponential", "mean": 0.25},
                "quantity": {"distribution": "poisson", "mean": 5},
            },
        },
    },
}
# Ordered earlier, and more of it.
PLAN = {"model": {"nodes": {"warehouse": {"policy": {"reorder_point": 300, "order_up_to": 400}}}}}
# Enough of them that the log is told of the way too.
MANY = {**SPIKE, "runs": 600, "seed": 11}


@pytest.fixture
async def client(hub: HubProcess, key: str) -> AsyncIterator[RestClient]:
    """A client of the hub."""
    async with RestClient(hub.base_url, key, timeout=60) as made:
        yield made


async def completed(client: RestClient, answer: Answer) -> Any:
    """Return the simulation that was begun, once it is completed: in the answer of a request that waited, or where it points to."""
    assert answer.status in (200, 202), answer
    path = answer.headers["Location"] if answer.status == 202 else f"/v2/simulations/{answer.body['id']}"

    async def ended() -> Any:
        shown = (await client.call("GET", path)).body
        return shown if shown["status"] in ENDS else None

    found = await eventually(ended, within=120, what="a simulation ends")
    assert found["status"] == "completed", found
    if answer.status == 200:
        assert answer.body == found
    return found


def tells_what_was_asked(simulation: Any) -> None:
    """Stock-outs, backlog and recovery, each with its baseline beside it; a spike makes the backlog no smaller."""
    indicators = simulation["summary"]["indicators"]
    for name in ASKED:
        found = {each: said for each, said in indicators.items() if each.split(".")[-1] == name}
        assert found, (name, sorted(indicators))
        for said in found.values():
            for interval in (said, said["baseline"], said["change"]):
                assert interval["low"] <= interval["mean"] <= interval["high"], (name, said)
    backlogs = [said for name, said in indicators.items() if name.endswith(".mean_backlog")]
    assert max(said["change"]["mean"] for said in backlogs) > 0, backlogs
    assert simulation["summary"]["findings"]
    assert simulation["baseline"]["series"].keys() == simulation["series"].keys()


@pytest.mark.parametrize("version", VERSIONS)
async def test_java_snippet(client: RestClient, version: str):
    """A twin whose data is in an ERP, and a demand spike of 30 %: on a sample, which is said."""
    body = {"name": "Supply Chain Twin", "type": "logistics", "data_source": "erp_system"}
    made = await client.call("POST", f"/{version}/twins", body)
    assert (made.status, made.body["data_source"]) == (201, "erp_system"), made
    found = await completed(client, await client.call("POST", f"/{version}/twins/{made.body['id']}/simulate", SPIKE))
    assert (found["twin_id"], found["scenario"]) == (made.body["id"], "demand_spike")
    assert found["parameters"]["increase_percentage"] == 30
    assert any("sample" in note for note in found["notes"]), found["notes"]
    tells_what_was_asked(found)


@pytest.mark.parametrize("version", VERSIONS)
async def test_sap_snippet(client: RestClient, version: str):
    """A twin that is given its data: it says why nothing is fetched each hour, and is simulated by what it was given."""
    data = {"orders": 120, "stock": {"widgets": 42}}
    body = {"name": "Business Operations Twin", "type": "erp_system", "data": data, "sync_schedule": "hourly"}
    made = await client.call("POST", f"/{version}/twins", body)
    assert made.status == 201, made
    assert (made.body["data"], made.body["sync_schedule"]) == (data, "hourly")
    path = f"/v2/twins/{made.body['id']}/sync"
    shown = await client.call("GET", path)
    assert shown.status == 200, shown
    assert "no source" in shown.body["reason"]
    assert (shown.body["sync_schedule"], shown.body["next_at"], shown.body["outcome"]) == ("hourly", None, None)
    by_hand = await client.call("POST", path)
    assert (by_hand.status, by_hand.code) == (409, "RESOURCE_CONFLICT")
    found = await completed(client, await client.call("POST", f"/{version}/twins/{made.body['id']}/simulate", SPIKE))
    assert not any("sample" in note for note in found["notes"]), found["notes"]
    tells_what_was_asked(found)


async def test_from_measurements_to_a_better_plan(client: RestClient, hub: HubProcess, key: str):
    """Measured, warned of, simulated, tried as a branch, applied; and it is still known how it was before."""
    made = await client.call("POST", "/v2/twins", WAREHOUSE)
    assert made.status == 201, made
    id = made.body["id"]
    async with open_stream(hub.stream_url, key) as socket:
        joined = (await socket.subscribe(f"twins:{id}", f"twins:{id}/telemetry"))["channels"]
        assert not any("error" in each for each in joined), joined
        await measured(client, socket, id)
        before = await simulated_live(client, socket, id)
    moved = await client.call("PATCH", f"/v2/twins/{id}", {"data": {"manager": "Grace"}})
    assert moved.body["version"] == 2, moved
    branch = await planned(client, id)
    tried = await what_if(client, id, branch)
    applied = await applied_to(client, branch)
    after = await completed(client, await client.call("POST", f"/v2/twins/{id}/simulate", MANY))
    assert (before["twin_version"], after["twin_version"]) == (1, 3)
    assert backlog(after) < backlog(before)
    # What was tried is what the twin has become: one seed, one chance.
    assert after["baseline"]["series"] == tried["series"]
    await is_known_as_it_was(client, id, [made.event_id, moved.event_id, applied.event_id])


async def measured(client: RestClient, socket: StreamClient, id: str) -> None:
    """By REST and by the socket; an alert is raised, and cleared."""
    room, path = f"twins:{id}/telemetry", f"/v2/twins/{id}"
    stored = await client.call("POST", f"{path}/telemetry", {"points": [{"metric": "on_hand", "value": 61}]})
    assert stored.body == {"stored": 1}, stored
    assert (await heard(socket, room, "twin.telemetry"))["data"]["metrics"]["on_hand"]["value"] == 61
    alerts = f"{path}/alerts?status=raised"
    for value, kind, names in ((42, "twin.alert.raised", ["runs_low"]), (75, "twin.alert.cleared", [])):
        published = await socket.ask({"type": "publish", "channel": room, "data": {"on_hand": value}})
        assert published["result"] == {"stored": 1}, published
        alert = (await heard(socket, f"twins:{id}", kind))["data"]
        assert (alert["rule"], alert["value"]) == ("runs_low", value)
        listed = await client.call("GET", alerts)
        assert [each["id"] for each in listed.body["data"]] == names, listed
    latest = (await client.call("GET", f"{path}/telemetry/latest")).body
    assert latest["metrics"]["on_hand"]["value"] == 75, latest
    asked = (await client.call("GET", f"{path}/telemetry?metric=on_hand&step=1h")).body
    assert sum(each["count"] for each in asked["series"]["on_hand"]) == 3, asked
    assert (await client.call("GET", path)).body["version"] == 1


async def simulated_live(client: RestClient, socket: StreamClient, id: str) -> Any:
    """Begun; both the simulation's room and the twin's channel hear how far it is, to its end."""
    begun = await client.call("POST", f"/v2/twins/{id}/simulate", MANY, Prefer="respond-async")
    assert begun.status == 202, begun
    room = f"simulations:{begun.body['id']}"
    await socket.subscribe(room)
    end = (await heard(socket, room, "simulation.completed"))["data"]
    logged = (await heard(socket, f"twins:{id}", "twin.simulation.completed"))["data"]
    found = await completed(client, begun)
    assert end["summary"] == logged["summary"] == found["summary"]
    for channel, kind in ((room, "simulation.progress"), (f"twins:{id}", "twin.simulation.progress")):
        assert kind in kinds(socket, channel), (channel, kinds(socket, channel))
    done = [each["data"]["done"] for each in events(socket, room) if "done" in each["data"]]
    assert done == sorted(done)
    assert kinds(socket, f"twins:{id}").count("twin.simulation.started") == 1
    return found


async def planned(client: RestClient, id: str) -> str:
    """A branch is made and changed; the twin is as it was."""
    made = await client.call("POST", f"/v2/twins/{id}/branches", {"name": "Order earlier"})
    assert made.status == 201, made
    path = f"/v2/branches/{made.body['id']}"
    changed = await client.call("PATCH", path, PLAN, If_Match='"1"')
    assert changed.body["document"]["model"]["nodes"]["warehouse"]["policy"]["order_up_to"] == 400, changed
    assert (await client.call("GET", f"/v2/twins/{id}")).body["version"] == 2
    return path


async def what_if(client: RestClient, id: str, branch: str) -> Any:
    """What the branch says differently is a patch, with which the twin is simulated; the twin moves on meanwhile."""
    said = (await client.call("GET", f"{branch}/diff")).body
    assert (said["merge_patch"], said["has_moved"], said["conflicts"]) == (PLAN, False, []), said
    body = {**MANY, "scenario": "what_if", "parameters": {"patch": said["merge_patch"]}}
    found = await completed(client, await client.call("POST", f"/v2/twins/{id}/simulate", body))
    assert found["twin_version"] == 2
    return found


async def applied_to(client: RestClient, branch: str) -> Answer:
    """To the version of the twin that is named, and to no other."""
    late = await client.call("POST", f"{branch}/apply", If_Match='"1"')
    assert (late.status, late.code) == (412, "PRECONDITION_FAILED")
    applied = await client.call("POST", f"{branch}/apply", If_Match='"2"')
    assert applied.status == 200, applied
    assert (applied.body["status"], applied.body["applied_version"]) == ("applied", 3)
    return applied


async def is_known_as_it_was(client: RestClient, id: str, writes: list[str]) -> None:
    """After each of these writes, of which one made the twin, one changed its data, and one was the plan."""
    seen = [await client.call("GET", f"/v2/twins/{id}?as_of={await position(client, each)}") for each in writes]
    twins = [each.body for each in seen]
    assert [each["version"] for each in twins] == [1, 2, 3]
    assert [each["data"]["manager"] for each in twins] == ["Ada", "Grace", "Grace"]
    policies = [each["model"]["nodes"]["warehouse"]["policy"] for each in twins]
    assert [each["reorder_point"] for each in policies] == [150, 150, 300]
    assert twins[2] == (await client.call("GET", f"/v2/twins/{id}")).body


async def position(client: RestClient, event: str) -> str:
    """Return where an event is in the log."""

    async def look() -> Any:
        found = await client.call("GET", f"/v2/events/{event}")
        return found.body if found.status == 200 else None

    return str((await eventually(look, what="an event has its position"))["position"])


async def heard(socket: StreamClient, channel: str, kind: str) -> Any:
    """Return the last event of this kind in a channel, once there is one."""
    while kind not in kinds(socket, channel):
        await socket.receive(within=120)
    return next(each for each in reversed(events(socket, channel)) if each["type"] == kind)


def kinds(socket: StreamClient, channel: str) -> list[str]:
    """Return of which types the channel's events have been."""
    return [each["type"] for each in events(socket, channel)]


def events(socket: StreamClient, channel: str) -> list[Any]:
    """Return all events that have come in a channel."""
    return [each["event"] for each in socket.frames if each["type"] == "event" and each["channel"] == channel]


def backlog(simulation: Any) -> float:
    """Return what the warehouse owed on average."""
    return simulation["summary"]["indicators"]["warehouse.mean_backlog"]["mean"]


async def test_agent_that_simulates(client: RestClient):
    """The built-in model calls the tool by its rule, and says what was found; the twin stays as it is."""
    made = await client.call("POST", "/v2/twins", WAREHOUSE)
    planner = {"name": "Planner", "type": "assistant", "capabilities": ["twin_simulation"]}
    agent = (await client.call("POST", "/v2/agents", planner)).body["id"]
    asked = {"twin": "warehouse", **SPIKE, "runs": 10}
    query = {"query": f"/twin_simulation {json.dumps(asked)}"}
    answer = await client.call("POST", f"/v2/agents/{agent}/execute", query)
    assert (answer.status, answer.body["status"], answer.body["model"]) == (200, "completed", "extractive"), answer
    (found,) = (await client.call("GET", f"/v2/twins/{made.body['id']}/simulations")).body["data"]
    assert (found["status"], found["runs"], found["scenario"]) == ("completed", 10, "demand_spike")
    assert answer.body["text"] == " ".join(found["summary"]["findings"])
    steps = (await client.call("GET", f"/v2/executions/{answer.body['id']}/steps")).body["data"]
    assert "twin_simulation" in {each["name"] for each in steps}
    schema = {"type": "object", "properties": {"seed": {"type": "integer"}, "findings": {"type": "array"}}}
    formed = await client.call("POST", f"/v2/agents/{agent}/execute", {**query, "output_schema": schema})
    assert formed.body["output"]["findings"], formed
    newest = (await client.call("GET", f"/v2/twins/{made.body['id']}/simulations")).body["data"][0]
    assert formed.body["output"]["seed"] == newest["seed"]
    assert (await client.call("GET", f"/v2/twins/{made.body['id']}")).body == made.body
