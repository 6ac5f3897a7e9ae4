"""Durable subscriptions over sockets of real hubs: nodes that are killed, and restarted, in the middle of deliveries."""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from typing import Any

import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import LOST, open_stream
from tests.harness.waiting import eventually, let_pass

EVENTS, ENDS, CONSUMERS = 80, 2, 4
NEW = {
    "name": "books",
    "delivery": "socket",
    "types": ["agent.*"],
    "ordered": True,
    "ack_seconds": 2,
    "max_deliveries": 1_000,
}


class Consumer:
    """Comes back to one node after another, whatever happens; acknowledges most, and notes what it was given and told."""

    def __init__(self, nodes: list[HubProcess], key: str, channel: str, rng: random.Random) -> None:
        self.nodes, self.key, self.channel, self.random = nodes, key, channel, rng
        self.given: list[tuple[str, int]] = []
        self.done: list[tuple[str, int]] = []

    async def work(self) -> None:
        for node in itertools.cycle(self.nodes):
            if node.base_url:
                with contextlib.suppress(*LOST):
                    await self._one_socket(node.base_url.replace("http", "ws", 1) + "/v2/stream")
            await let_pass(0.02)

    async def _one_socket(self, url: str) -> None:
        async with open_stream(url, self.key) as client:
            await client.subscribe({"channel": self.channel, "max_in_flight": 5})
            while True:
                frame = await client.receive(within=3600)
                if frame["type"] == "event" and frame["channel"] == self.channel:
                    self.given.append((frame["event"]["id"], frame["attempt"]))
                    named: dict[str, Any] = {"channel": self.channel, "deliveries": [frame["delivery"]]}
                    place = f"{frame['event']['subject']} {frame['offset']}"
                    kind = {"type": "ack"} if self.random.random() < 0.8 else {"type": "nack", "delay_seconds": 0}
                    await client.send({"id": place, **kind, **named} if "delay_seconds" not in kind else kind | named)
                elif frame["type"] == "result" and frame.get("id") and frame["result"]["done"]:
                    subject, _, position = str(frame["id"]).partition(" ")
                    self.done.append((subject, int(position)))


@pytest.mark.deadline(300)  # three starts of a node
async def test_nothing_is_lost_while_nodes_are_killed(
    seed: int, database_url: str, redis_url: str, engines: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """SIGKILL, and a restart that drains: every event is acknowledged; what comes twice is the same event in another attempt,
    and each subject's come in order."""
    rng = random.Random(seed)
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    nodes = [await hubs.start(urls=urls) for _ in range(2)]
    key = await organisation.key()
    async with RestClient(nodes[0].base_url, key, timeout=20) as client:
        made = await client.call("POST", "/v2/subscriptions", NEW)
        assert (made.status, made.body["delivery"]) == (201, "socket")
        path, channel = f"/v2/subscriptions/{made.body['id']}", f"subscriptions:{made.body['id']}"
        consumers = [Consumer(nodes, key, channel, rng) for _ in range(CONSUMERS)]
        tasks = [asyncio.create_task(each.work()) for each in consumers]
        agents = [(await client.call("POST", "/v2/agents", {"name": f"A{n}"})).body["id"] for n in range(4)]
        written = len(agents)
        for end in range(1, ENDS + 1):
            while written < EVENTS * end // ENDS:
                answer = await client.call("PATCH", f"/v2/agents/{rng.choice(agents)}", {"name": f"B{written}"})
                assert answer.status == 200, answer
                written += 1
            if end % 2:
                nodes[1].kill()
            else:
                await nodes[1].stop()
            await nodes[1].start()

        async def all_done() -> bool:
            assert not [task for task in tasks if task.done()]
            now = (await client.call("GET", path)).body
            return (now["lag"], now["outstanding"]) == (0, 0)

        await eventually(all_done, within=120)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    given = Counter(each for consumer in consumers for each in consumer.given)
    assert len({event for event, _ in given}) == EVENTS
    assert max(given.values()) == 1, "an event came twice as the same attempt"
    assert sum(bool(consumer.given) for consumer in consumers) > 1
    for consumer in consumers:
        for subject in {subject for subject, _ in consumer.done}:
            positions = [position for each, position in consumer.done if each == subject]
            assert positions == sorted(positions)
