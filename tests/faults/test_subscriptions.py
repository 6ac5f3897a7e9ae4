"""Pulls on real hubs: woken by what comes, and consumers and nodes that die in the middle lose nothing."""

import asyncio
import contextlib
import random
from collections import Counter
from typing import Any

import aiohttp

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

EVENTS, KILLS, CONSUMERS = 150, 3, 3
NEW = {"name": "books", "types": ["agent.*"], "ordered": True, "ack_seconds": 2, "max_deliveries": 1_000}


async def make(client: RestClient, **more: Any) -> str:
    """Make a subscription; returns its path."""
    answer = await client.call("POST", "/v2/subscriptions", {**NEW, **more})
    assert answer.status == 201, answer
    return f"/v2/subscriptions/{answer.body['id']}"


async def test_pull_waits_for_what_comes_and_leaves_the_pool_alone(
    database_url: str, redis_url: str, engines: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """More pulls wait than the pool has connections; what comes wakes one of them, and other requests are answered meanwhile."""
    hub = await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))
    async with RestClient(hub.base_url, await organisation.key(), timeout=60) as client:
        path = await make(client, types=["agent.created"])
        body = {"max": 1, "wait_seconds": 30}
        waiting = [asyncio.create_task(client.call("POST", f"{path}/pull", body)) for _ in range(30)]
        assert (await client.call("GET", path)).body["in_flight"] == 0
        created = await client.call("POST", "/v2/agents", {"name": "A"})
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=25)
        pulled = [each for task in done for each in task.result().body["deliveries"]]
        assert [each["event"]["id"] for each in pulled] == [created.event_id]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_event_is_not_handed_to_a_consumer_that_has_gone(
    database_url: str, redis_url: str, engines: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """Who hangs up while it waits gets nothing: the next one has the event at once, by its first attempt."""
    hub = await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))
    async with RestClient(hub.base_url, await organisation.key()) as client:
        path = await make(client, types=["agent.created"])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await client.call("POST", f"{path}/pull", {"wait_seconds": 30})
        await client.call("POST", "/v2/agents", {"name": "A"})
        pulled: list[Any] = []

        async def comes() -> bool:
            pulled.extend((await client.call("POST", f"{path}/pull", {"wait_seconds": 5})).body["deliveries"])
            return bool(pulled)

        await eventually(comes, within=30)
        assert [each["attempt"] for each in pulled] == [1]
        metrics = (await client.call("GET", "/metrics")).text
        assert 'hub_subscription_events_total{outcome="delivered"} 1.0' in metrics
        assert "# TYPE hub_subscription_lag gauge" in metrics


class Consumers:
    """Pull at any node, acknowledge most, and note what they were given and what they were told is done."""

    def __init__(self, client: RestClient, nodes: list[HubProcess], path: str, rng: random.Random) -> None:
        self.client, self.nodes, self.path, self.random = client, nodes, path, rng
        self.given: Counter[str] = Counter()
        self.done: list[tuple[str, int]] = []
        self.stopping = False

    async def work(self) -> None:
        while not self.stopping:
            # A node that was killed, or is on its way: the answer is lost, and what it handed out comes again.
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await self._turn()

    async def _turn(self) -> None:
        node = self.random.choice(self.nodes)
        if not node.base_url:
            return
        pulled = await self.client.call(
            "POST", f"{self.path}/pull", {"max": 20, "wait_seconds": 1}, base_url=node.base_url
        )
        for each in pulled.body["deliveries"] if pulled.status == 200 else ():
            self.given[each["event"]["id"]] += 1
            what = "ack" if self.random.random() < 0.8 else "nack"
            more = {"delay_seconds": 0} if what == "nack" else {}
            body = {"ack_ids": [each["ack_id"]], **more}
            said = await self.client.call("POST", f"{self.path}/{what}", body, base_url=node.base_url)
            if what == "ack" and said.status == 200 and said.body["done"]:
                self.done.append((each["event"]["subject"], int(each["position"])))


async def test_nothing_is_lost_while_nodes_are_killed(
    seed: int, database_url: str, redis_url: str, engines: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """SIGKILL in the middle of pulls and answers: every event is handed out, and each subject's in order."""
    rng = random.Random(seed)
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    nodes = [await hubs.start(urls=urls) for _ in range(2)]
    async with RestClient(nodes[0].base_url, await organisation.key(), timeout=20) as client:
        path = await make(client)
        consumers = Consumers(client, nodes, path, rng)
        tasks = [asyncio.create_task(consumers.work()) for _ in range(CONSUMERS)]
        agents = [(await client.call("POST", "/v2/agents", {"name": f"A{n}"})).body["id"] for n in range(5)]
        written = len(agents)
        for kill in range(1, KILLS + 1):
            while written < EVENTS * kill // KILLS:
                answer = await client.call("PATCH", f"/v2/agents/{rng.choice(agents)}", {"name": f"B{written}"})
                assert answer.status == 200, answer
                written += 1
            nodes[1].kill()
            await nodes[1].start()

        async def all_done() -> bool:
            now = (await client.call("GET", path)).body
            return (now["lag"], now["outstanding"]) == (0, 0)

        await eventually(all_done, within=90)
        consumers.stopping = True
        await asyncio.gather(*tasks)
    assert len(consumers.given) == EVENTS
    by_subject: dict[str, list[int]] = {}
    for subject, position in consumers.done:
        by_subject.setdefault(subject, []).append(position)
    assert all(positions == sorted(positions) for positions in by_subject.values())
