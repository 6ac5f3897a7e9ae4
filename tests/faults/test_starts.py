"""Starts that are hard: four at once on nothing, and one after everything was killed."""

import signal

from tests.harness.engines import PrivateEngines, processes_of
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import open_stream
from tests.harness.waiting import eventually


async def test_four_cold_starters_make_one_hub(private_engines: PrivateEngines, hubs: HubProcesses):
    """One set of engines, one first key; what is written through each is seen through every other."""
    nodes = await hubs.start_many(4, data=private_engines.data)
    assert len({node.key for node in nodes}) == 1
    assert count_of("valkey-server", private_engines) == 1
    key = nodes[0].key
    for writer, reader in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        async with open_stream(reader.stream_url, key) as stream, RestClient(writer.base_url, key) as client:
            await stream.subscribe("agents")
            made = await client.call("POST", "/v2/agents", {"name": "seen by all"})
            assert made.status == 201, made
            assert (await stream.expect("event"))["event"]["id"] == made.event_id


def count_of(program: str, engines: PrivateEngines) -> int:
    """Count the processes of a program that work for a data folder."""
    return sum(program in " ".join(process.cmdline()) for process in processes_of(engines.data))


async def agents_of(hub: HubProcess) -> list[str]:
    """Return the ids of the agents that the hub knows."""
    async with RestClient(hub.base_url, hub.key) as client:
        answer = await client.call("GET", "/v2/agents?per_page=100")
        assert answer.status == 200, answer
        return [agent["id"] for agent in answer.body["data"]]


async def test_everything_killed_loses_nothing_that_was_committed(private_engines: PrivateEngines, hubs: HubProcesses):
    """Kill -9 of the hub, the supervisor, PostgreSQL and Redis at once: the next start works, and goes on."""
    hub = await hubs.start(data=private_engines.data)
    async with open_stream(hub.stream_url, hub.key) as stream, RestClient(hub.base_url, hub.key) as client:
        joined = (await stream.subscribe("agents"))["channels"][0]
        made = [await client.call("POST", "/v2/agents", {"name": f"Nr. {n}"}) for n in range(40)]
    for process in processes_of(private_engines.data):
        process.send_signal(signal.SIGKILL)
    hub.kill()
    await eventually(lambda: not processes_of(private_engines.data), what="all gone")
    await hub.start()
    assert set(await agents_of(hub)) == {answer.body["id"] for answer in made}
    async with open_stream(hub.stream_url, hub.key) as stream, RestClient(hub.base_url, hub.key) as client:
        bookmark = {"channel": "agents", "offset": joined["offset"], "epoch": joined["epoch"]}
        again = (await stream.subscribe(bookmark))["channels"][0]
        assert again["recovered"] is True
        one_more = await client.call("POST", "/v2/agents", {"name": "the next"})
        events = await stream.events(len(made) + 1)
    assert [event["event"]["id"] for event in events] == [answer.event_id for answer in [*made, one_more]]
