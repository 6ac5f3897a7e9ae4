"""Simulations over REST and the stream on a whole hub: what the seed sends, progress seen live, cancelling."""

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest

from tests.harness.hub_process import HubProcess
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import StreamClient, open_stream
from tests.harness.waiting import eventually
from tests.hub.simulating import (
    ENDED,
    LATER,
    LONG,
    SPIKE,
    client,
    ended,
    hub,
    key,
    organisation,
    simulate,
    streamed,
    twin,
)

__all__ = ["client", "hub", "key", "organisation"]  # fixtures: one hub for the module


async def test_seeds_java_snippet(client: RestClient):
    """A logistics twin whose data comes from an ERP: a demand spike of 30 % is simulated at once, on a sample, which is said."""
    body = {"name": "Supply Chain Twin", "type": "logistics", "data_source": "erp_system"}
    made = (await client.call("POST", "/v1/twins", body)).body
    answer = await client.call("POST", f"/v1/twins/{made['id']}/simulate", SPIKE)
    assert answer.status == 200, answer
    found = answer.body
    assert list(found)[:4] == ["id", "twin_id", "branch_id", "status"]
    assert (found["status"], found["scenario"], found["runs"]) == ("completed", "demand_spike", 30)
    assert found["parameters"]["increase_percentage"] == 30
    assert found["summary"]["indicators"]
    assert found["series"]
    assert found["baseline"]
    assert found["notes"]
    assert found["progress"] == {"done": 60, "total": 60}


async def test_branch_is_simulated_beside_its_twin(client: RestClient):
    """To the end, or streamed; by one seed they differ by what the branch changes, and not at all where it changes nothing."""
    id = await twin(client)
    branch = (await client.call("POST", f"/v2/twins/{id}/branches", {"name": "Slower"})).body["id"]
    body = {**SPIKE, "runs": 3, "seed": 5}
    of_twin = (await simulate(client, id, body)).body
    same = await client.call("POST", f"/v2/branches/{branch}/simulate", body)
    assert (same.status, same.body["status"], same.body["branch_id"]) == (200, "completed", branch)
    assert (same.body["summary"], same.body["series"]) == (of_twin["summary"], of_twin["series"])
    slower = {"model": {"nodes": {"desk": {"service": {"distribution": "exponential", "mean": 0.7}}}}}
    assert (await client.call("PATCH", f"/v2/branches/{branch}", slower)).status == 200
    async with streamed(client, "POST", f"/v2/branches/{branch}/simulate", body) as told:
        pass
    last, found = told[-1]
    assert last == "simulation.completed"
    ours, theirs = (each["summary"]["indicators"]["desk.mean_wait"]["mean"] for each in (found, of_twin))
    assert ours > theirs


async def test_seeds_erp_twin(client: RestClient):
    """The SAP connector's twin, synchronised hourly, is simulated too."""
    data = {"orders": 120, "stock": {"widgets": 42}}
    body = {"name": "Business Operations Twin", "type": "erp_system", "data": data, "sync_schedule": "hourly"}
    made = (await client.call("POST", "/v1/twins", body)).body
    answer = await simulate(client, made["id"], SPIKE)
    assert (answer.status, answer.body["status"]) == (200, "completed")


async def test_one_seed_gives_one_result(client: RestClient):
    """The summary of two simulations with one seed is the same, byte for byte; what is kept is what was answered."""
    id = await twin(client)
    first, second = [(await simulate(client, id, {**SPIKE, "seed": 3})).body for _ in range(2)]
    assert first["id"] != second["id"]
    assert orjson.dumps(first["summary"]) == orjson.dumps(second["summary"])
    assert (await client.call("GET", f"/v2/simulations/{first['id']}")).body == first
    other = (await simulate(client, id, {**SPIKE, "seed": 4, "baseline": False})).body
    assert other["baseline"] is None
    assert other["progress"] == {"done": 30, "total": 30}
    assert other["summary"] != first["summary"]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "scenario", "MISSING_REQUIRED_FIELD"),
        ({"scenario": "nothing"}, "scenario", "VALUE_OUT_OF_RANGE"),
        (
            {"scenario": "demand_spike", "parameters": {"increase_percentage": "30"}},
            "parameters.increase_percentage",
            None,
        ),
        ({"scenario": "demand_spike", "parameters": {"colour": 1}}, "parameters.colour", None),
        ({**SPIKE, "runs": 0}, "runs", "VALUE_OUT_OF_RANGE"),
        ({**SPIKE, "runs": 1_000_000}, "runs", "VALUE_OUT_OF_RANGE"),
        ({**SPIKE, "horizon": 1e9}, "horizon", "VALUE_OUT_OF_RANGE"),
        ({**SPIKE, "seed": -1}, "seed", "VALUE_OUT_OF_RANGE"),
        ({**SPIKE, "deadline": 0}, "deadline", "VALUE_OUT_OF_RANGE"),
        ({**SPIKE, "colour": "red"}, "colour", None),
    ],
)
async def test_wrong_requests_are_refused_before_anything_is_made(
    client: RestClient, body: Any, field: str, code: str | None
):
    """Each by the place of what is wrong; nothing is made."""
    id = await twin(client)
    answer = await simulate(client, id, body)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    detail = next(each for each in answer.body["error"]["details"] if each["field"] == field)
    assert code in (None, detail["code"])
    assert (await client.call("GET", f"/v2/twins/{id}/simulations")).body["pagination"]["total"] == 0


async def test_model_that_cannot_run_names_the_place(client: RestClient):
    """What a single field cannot tell is found where the twin is written; it is not made."""
    nodes = {"doors": {"kind": "arrivals", "to": "nowhere", "interval": 1.0}}
    made = await client.call("POST", "/v2/twins", {"name": "X", "model": {"engine": "network", "nodes": nodes}})
    assert (made.status, made.code) == (422, "VALIDATION_ERROR")
    assert made.body["error"]["details"][0]["field"] == "model.nodes.doors.to"


async def test_thousand_runs_are_seen_live(client: RestClient, hub: HubProcess, key: str):
    """Who asks for it later gets 202 at once; its room tells how far it is, and of its end; who comes late gets what was said."""
    id = await twin(client)
    begun = await simulate(client, id, {**LONG, "horizon": 300}, **LATER)
    assert begun.status == 202, begun
    assert begun.headers["Location"] == f"/v2/simulations/{begun.body['id']}"
    channel = f"simulations:{begun.body['id']}"
    async with open_stream(hub.stream_url, key) as socket:
        await socket.subscribe(channel)
        told = await _told(socket, channel)
    done = [each["data"]["done"] for each in told if "done" in each["data"]]
    assert done == sorted(done)
    assert len(done) > 2
    assert told[-1]["type"] == "simulation.completed"
    assert told[-1]["data"]["summary"]["indicators"]
    async with open_stream(hub.stream_url, key) as socket:
        await socket.subscribe(channel)
        (last,) = await socket.events(1)
    assert last["event"]["type"] == "simulation.snapshot"
    assert last["event"]["data"]["status"] == "completed"
    log = (await client.call("GET", f"/v2/twins/{id}/events?sort=position")).body["data"]
    types = [each["type"].removeprefix("twin.simulation.") for each in log if "simulation" in each["type"]]
    assert types[0] == "started"
    assert types[-1] == "completed"
    assert 0 <= types.count("progress") <= 9


async def _told(socket: StreamClient, channel: str) -> list[Any]:
    told: list[Any] = []
    while not told or told[-1]["type"].removeprefix("simulation.") not in ENDED:
        (frame,) = await socket.events(1, within=120)
        assert frame["channel"] == channel
        told.append(frame["event"])
    return told


async def test_progress_is_streamed(client: RestClient):
    """With Accept: text/event-stream the answer is what is told, to the end; of what has ended, its end."""
    id = await twin(client)
    async with streamed(client, "POST", f"/v2/twins/{id}/simulate", {**SPIKE, "runs": 50}) as told:
        assert told[-1][0] == "simulation.completed"
        assert told[-1][1]["summary"]
        attempts = [(data["attempt"], data["done"]) for _, data in told]
        assert attempts == sorted(attempts)
    simulation = told[-1][1]["simulation_id"]
    async with streamed(client, "GET", f"/v2/simulations/{simulation}") as again:
        assert [type for type, _ in again] == ["simulation.completed"]


async def test_cancelling(client: RestClient):
    """It ends at once, and stays so; the log and its room hear of it; what has ended is not changed."""
    id = await twin(client)
    begun = (await simulate(client, id, LONG, **LATER)).body["id"]
    answer = await client.call("POST", f"/v2/simulations/{begun}/cancel")
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    assert (await ended(client, begun))["status"] == "cancelled"
    again = await client.call("POST", f"/v2/simulations/{begun}/cancel")
    assert again.body == answer.body
    async with streamed(client, "GET", f"/v2/simulations/{begun}") as told:
        assert [type for type, _ in told] == ["simulation.cancelled"]


async def test_cancel_races_the_end(client: RestClient):
    """Whoever comes first: there is one end, and one event of it."""
    id = await twin(client)
    for turn in range(8):
        begun = (await simulate(client, id, {**SPIKE, "runs": 5}, **LATER)).body["id"]
        await asyncio.gather(*(client.call("GET", "/v2/twins") for _ in range(turn)))
        await client.call("POST", f"/v2/simulations/{begun}/cancel")
        status = (await ended(client, begun))["status"]
        assert status in ("completed", "cancelled")

        async def ends(subject: str = begun) -> list[str]:
            found = await client.call("GET", f"/v2/events?subject=simulations/{subject}")
            types = [each["type"].removeprefix("twin.simulation.") for each in found.body["data"]]
            return [type for type in types if type in ENDED]

        await eventually(ends, what="its end is in the log")
        assert await ends() == [status]


async def test_deadline(client: RestClient):
    """What takes longer than it may ends as failed, by TIMEOUT."""
    id = await twin(client)
    begun = await simulate(client, id, {**LONG, "horizon": 50_000, "deadline": 1}, **LATER)
    found = await ended(client, begun.body["id"])
    assert (found["status"], found["error"]["code"]) == ("failed", "TIMEOUT")
    assert found["summary"] is None


async def test_key_gives_the_same_simulation(client: RestClient):
    """A repeat gets the simulation that the first has begun."""
    id = await twin(client)
    answers = [await simulate(client, id, SPIKE, Idempotency_Key="k1", **LATER) for _ in range(2)]
    assert answers[0].body["id"] == answers[1].body["id"]
    assert (await client.call("GET", f"/v2/twins/{id}/simulations")).body["pagination"]["total"] == 1


async def test_plot(client: RestClient):
    """It is a picture with a tag; who asks for JSON gets it in JSON, also in a batch. What has not completed has none."""
    id = await twin(client)
    made = (await simulate(client, id, SPIKE)).body["id"]
    async with aiohttp.ClientSession(headers=client._headers) as session:  # pyright: ignore[reportPrivateUsage]
        url = f"{client.base_url}/v2/simulations/{made}/plot"
        async with session.get(url, headers={"Accept": "*/*"}) as answer:
            assert (answer.status, answer.content_type) == (200, "image/svg+xml")
            assert "sandbox" in answer.headers["Content-Security-Policy"]
            tag, svg = answer.headers["ETag"], await answer.text()
        assert svg.startswith("<svg")
        async with session.get(url, headers={"Accept": "*/*", "If-None-Match": tag}) as answer:
            assert answer.status == 304
    shown = await client.call("GET", f"/v2/simulations/{made}/plot", Accept="application/json")
    assert shown.body == {"id": made, "svg": svg}
    batch = await client.call(
        "POST", "/v2/batch", {"operations": [{"method": "GET", "path": f"/v2/simulations/{made}/plot"}]}
    )
    assert batch.body["results"][0]["body"]["svg"] == svg
    long = (await simulate(client, id, LONG, **LATER)).body["id"]
    refused = await client.call("GET", f"/v2/simulations/{long}/plot", Accept="application/json")
    assert (refused.status, refused.code) == (409, "RESOURCE_CONFLICT")
    await client.call("POST", f"/v2/simulations/{long}/cancel")


async def test_lists(client: RestClient):
    """By twin, status and scenario; without series."""
    first, second = await twin(client), await twin(client)
    made = [(await simulate(client, id, SPIKE)).body["id"] for id in (first, second, first)]
    of_first = (await client.call("GET", f"/v2/twins/{first}/simulations")).body["data"]
    assert [each["id"] for each in of_first] == [made[2], made[0]]
    assert "series" not in of_first[0]
    whole = (await client.call("GET", f"/v2/simulations/{made[2]}")).body
    assert of_first[0] == {name: value for name, value in whole.items() if name in of_first[0]}
    for query, ids in (
        (f"twin_id={second}", [made[1]]),
        ("status=failed", []),
        ("scenario=demand_spike&limit=2", [made[2], made[1]]),
        (f"filter[twin_id]={second}", [made[1]]),
        ("filter[status]=completed&sort=created_at", made),
    ):
        found = await client.call("GET", f"/v2/simulations?{query}")
        assert [each["id"] for each in found.body["data"]] == ids, query


async def test_scenarios(client: RestClient):
    """What can be simulated is told, with the schema of its parameters; the twin's own too."""
    own = {"half_the_staff": {"description": "Half of them are ill", "changes": []}}
    id = await twin(client, scenarios=own)
    found = (await client.call("GET", f"/v2/twins/{id}/scenarios")).body
    by_name = {each["name"]: each for each in found["data"]}
    assert by_name["half_the_staff"]["own"] is True
    assert by_name["demand_spike"]["parameters"]["properties"]["increase_percentage"]["default"] == 30
    page = (await client.call("GET", f"/v2/twins/{id}/scenarios?per_page=1&page=2")).body
    assert page["data"] == found["data"][1:2]
    assert page["pagination"]["total"] == len(by_name)
