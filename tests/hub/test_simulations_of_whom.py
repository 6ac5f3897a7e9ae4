"""Who simulates: agents, by their tool; those who may not see, or may only look; nobody, once the twin is deleted."""

from typing import Any
from uuid import UUID

import orjson

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess
from tests.harness.organisations import Organisation, Organisations
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import open_stream
from tests.harness.waiting import eventually
from tests.hub.simulating import LATER, LONG, SPIKE, client, ended, hub, key, organisation, simulate, twin

__all__ = ["client", "hub", "key", "organisation"]  # fixtures: one hub for the module


async def test_others_see_nothing(client: RestClient, hub: HubProcess, urls: EngineUrls, organisation: Organisation):
    """Another organisation, and a key for another twin: there is no such simulation, whatever is asked of it."""
    id, other = await twin(client), await twin(client)
    made = (await simulate(client, id, SPIKE)).body["id"]
    stranger = await (await Organisations(urls.database_url).create()).key()
    of_other = await organisation.key(resource_ids=[UUID(other)])
    for theirs in (stranger, of_other):
        async with RestClient(hub.base_url, theirs) as them:
            for method, path in (
                ("GET", f"/v2/simulations/{made}"),
                ("GET", f"/v2/simulations/{made}/plot"),
                ("POST", f"/v2/simulations/{made}/cancel"),
                ("GET", f"/v2/twins/{id}/simulations"),
                ("GET", f"/v2/twins/{id}/scenarios"),
            ):
                assert (await them.call(method, path)).status == 404, path
            assert (await simulate(them, id, SPIKE)).status == 404
            assert (await them.call("GET", "/v2/simulations")).body["pagination"]["total"] == 0
            assert (await them.call("GET", f"/v2/simulations?twin_id={id}")).body["pagination"]["total"] == 0
        async with open_stream(hub.stream_url, theirs) as socket:
            answer = await socket.subscribe(f"simulations:{made}")
            assert answer["channels"][0]["error"]["code"] == "CHANNEL_NOT_FOUND"


async def test_scopes(client: RestClient, hub: HubProcess, organisation: Organisation):
    """Simulating takes write:twins, looking read:twins; only the hub speaks in the room."""
    id = await twin(client)
    made = (await simulate(client, id, SPIKE)).body["id"]
    reader = await organisation.key(["read:twins"])
    async with RestClient(hub.base_url, reader) as them:
        assert (await simulate(them, id, SPIKE)).status == 403
        assert (await them.call("POST", f"/v2/simulations/{made}/cancel")).status == 403
        assert (await them.call("GET", f"/v2/simulations/{made}")).status == 200
    async with open_stream(hub.stream_url, await organisation.key()) as socket:
        refused = await socket.ask({"type": "publish", "id": 1, "channel": f"simulations:{made}", "data": {"done": 1}})
        assert refused["error"]["code"] == "FORBIDDEN"


async def test_deleted_twin(client: RestClient, organisation: Organisation):
    """Its simulations are there for nobody at once; those at work end, and all go in the background."""
    id = await twin(client)
    made = (await simulate(client, id, SPIKE)).body["id"]
    long = (await simulate(client, id, LONG, **LATER)).body["id"]
    assert (await client.call("DELETE", f"/v2/twins/{id}")).status == 204
    for each in (made, long):
        assert (await client.call("GET", f"/v2/simulations/{each}")).status == 404
    assert (await client.call("GET", "/v2/simulations")).body["pagination"]["total"] == 0
    assert (await simulate(client, id, SPIKE)).status == 404

    async def gone() -> bool:
        return not await organisation.rows("SELECT id FROM simulations WHERE twin_id = $1", UUID(id))

    await eventually(gone, within=60, what="its simulations are removed")
    ends = (await client.call("GET", f"/v2/events?subject=simulations/{long}&sort=-position")).body["data"]
    assert ends[0]["type"] == "twin.simulation.cancelled"


async def agent(client: RestClient, **config: Any) -> str:
    body = {"name": "Planner", "capabilities": ["twin_simulation"], "config": {"model": "extractive", **config}}
    made = await client.call("POST", "/v2/agents", body)
    assert made.status == 201, made
    return made.body["id"]


async def execute(client: RestClient, agent_id: str, arguments: Any, **headers: str) -> Any:
    query = f"/twin_simulation {orjson.dumps(arguments).decode()}"
    return (await client.call("POST", f"/v2/agents/{agent_id}/execute", {"query": query}, **headers)).body


async def test_agents_simulate(client: RestClient):
    """The built-in model calls the tool by its name and says what was found; a twin is named by its id or its name."""
    id = await twin(client, name="The desk")
    before = (await client.call("GET", f"/v2/twins/{id}")).body
    planner = await agent(client)
    for named in (id, "the desk"):
        done = await execute(client, planner, {"twin": named, **SPIKE, "runs": 5})
        assert done["status"] == "completed", done
        (found,) = (await client.call("GET", f"/v2/twins/{id}/simulations?limit=1")).body["data"]
        assert done["text"] == " ".join(found["summary"]["findings"])
        assert found["runs"] == 5
    assert (await client.call("GET", f"/v2/twins/{id}")).body == before
    wrong = await execute(client, planner, {"twin": id, "scenario": "nothing"})
    assert "demand_spike" in wrong["text"]
    assert "There is no twin" in (await execute(client, planner, {"twin": planner, **SPIKE}))["text"]


async def test_agents_simulate_what_they_may(client: RestClient, hub: HubProcess, organisation: Organisation):
    """Those that name no twins, what their caller may; others what their author has named, for everybody."""
    id, other = await twin(client), await twin(client)
    open_, named = await agent(client), await agent(client, twins=[id])
    async with RestClient(hub.base_url, await organisation.key(["write:agents", "read:agents"]), timeout=60) as poor:
        assert "write:twins" in (await execute(poor, open_, {"twin": id, **SPIKE}))["text"]
        assert (await execute(poor, named, {"twin": id, **SPIKE, "runs": 5}))["status"] == "completed"
        assert "may simulate" in (await execute(poor, named, {"twin": other, **SPIKE}))["text"]
        body = {"name": "Mine", "config": {"twins": [other]}}
        refused = await poor.call("POST", "/v2/agents", body)
        assert (refused.status, refused.code) == (403, "INSUFFICIENT_SCOPE")
    assert (await client.call("GET", f"/v2/twins/{id}/simulations")).body["pagination"]["total"] == 1
    assert (await client.call("GET", f"/v2/twins/{other}/simulations")).body["pagination"]["total"] == 0


async def test_cancelled_run_cancels_what_it_simulates(client: RestClient):
    """Nobody waits for it any more."""
    id, planner = await twin(client), await agent(client)
    wanted = {"twin": id, **SPIKE, "runs": 1000, "horizon": 5000}
    begun = await execute(client, planner, wanted, **LATER)

    async def simulation() -> Any:
        found = (await client.call("GET", f"/v2/twins/{id}/simulations")).body["data"]
        return found[0] if found and found[0]["status"] == "running" else None

    running = await eventually(simulation, within=30, what="it simulates")
    assert (await client.call("POST", f"/v2/executions/{begun['id']}/cancel")).status == 200
    assert (await ended(client, running["id"]))["status"] == "cancelled"
