"""Simulations whose worker dies: another goes on, there is one end, and the result is that of its seed."""

from typing import Any

import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import StreamReader
from tests.harness.waiting import eventually
from tests.hub.simulating import ENDED, LATER, QUEUE, SPIKE

LONG = {**SPIKE, "runs": 150, "horizon": 1500, "seed": 11, "deadline": 600}


@pytest.fixture
def urls(engines: EngineUrls, database_url: str, redis_url: str) -> EngineUrls:
    return EngineUrls(database_url, engines.superuser_url, redis_url)


@pytest.mark.slow
@pytest.mark.deadline(240)
@pytest.mark.parametrize("drain", [False, True], ids=["killed", "drained"])
async def test_node_goes_in_mid_simulation(
    *, drain: bool, organisation: Organisation, urls: EngineUrls, hubs: HubProcesses
):
    """Who follows it hears of a new attempt, then of the end, once; the bytes are those that an undisturbed one gives."""
    first = await hubs.start(urls=urls, environment={"HUB_DRAIN": "0.5"})
    key = await organisation.key()
    async with RestClient(first.base_url, key, timeout=60) as client:
        twin = (await client.call("POST", "/v2/twins", {"name": "Desk", "model": QUEUE})).body["id"]
        begun = (await client.call("POST", f"/v2/twins/{twin}/simulate", LONG, **LATER)).body["id"]
        other = await hubs.start(urls=urls)
        path = f"/v2/simulations/{begun}"

        async def is_under_way() -> bool:
            return (await client.call("GET", path)).body["progress"]["done"] > 0

        # Of two nodes one has it: the first, which was alone when it was begun.
        await eventually(is_under_way, within=60, what="it is under way")
    async with (
        RestClient(other.base_url, key, timeout=60) as client,
        StreamReader([other.stream_url], key, [f"simulations:{begun}"]) as reader,
    ):
        await (first.stop() if drain else _killed(first))
        found = await _ended(client, path)
        assert (found["status"], found["attempt"]) == ("completed", 2)
        await eventually(lambda: "simulation.completed" in _types(reader), within=30, what="its room hears of the end")
        assert _types(reader).count("simulation.completed") == 1
        again = (await client.call("POST", f"/v2/twins/{twin}/simulate", LONG, **LATER)).body["id"]
        undisturbed = await _ended(client, f"/v2/simulations/{again}")
        for name in ("summary", "series", "baseline", "notable"):
            assert found[name] == undisturbed[name]
        log = (await client.call("GET", f"/v2/events?subject=simulations/{begun}&per_page=100")).body["data"]
        types = [each["type"].removeprefix("twin.simulation.") for each in log]
        assert [type for type in types if type in ENDED] == ["completed"]
        assert types.count("started") == 1


async def _killed(node: Any) -> None:
    node.kill()


async def _ended(client: RestClient, path: str) -> Any:
    async def look() -> Any:
        found = (await client.call("GET", path)).body
        return found if found["status"] in ENDED else None

    return await eventually(look, within=120, what="a simulation ends")


def _types(reader: StreamReader) -> list[str]:
    return [each.event["type"] for each in reader.received]
