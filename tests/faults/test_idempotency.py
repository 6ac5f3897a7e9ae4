"""Idempotency keys while nodes are killed: whatever is repeated, and wherever, was done once, and every key gets its answer."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from core.store.database import connect_as
from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.ledger import Ledger
from tests.harness.organisations import Organisation
from tests.harness.rest_client import LATER, Answer, RestClient
from tests.harness.waiting import END_SECONDS, cancelled, eventually

CUSTOMERS = 8
KILLS = 4
# Between two kills, so that a slow start of a node does not make the test long.
MOST_KEYS = 60
# Of an operation of several steps a claim is left, for its deadline and 5 s more: a short deadline makes it soon free again.
PATIENCE_SECONDS = 3
# A key that has no answer after so long is stuck: both nodes may be down for a while, and a claim be left over.
MOST_SECONDS = 60.0
# What comes back the same; of the rest each answer has its own.
KEPT = ("Location", "ETag", "X-Event-Id")


@dataclass
class Keyed:
    """One request under one key, and every success that it was answered with."""

    method: str
    path: str
    body: dict[str, Any]
    key: str
    answers: list[Answer] = field(default_factory=list[Answer])

    def problems(self) -> list[str]:
        """Return what its answers have against each other."""
        said = {(each.status, each.text, *(each.headers.get(name) for name in KEPT)) for each in self.answers}
        first = sum("Idempotent-Replayed" not in each.headers for each in self.answers)
        found = [f"{self}: {len(said)} different answers"] if len(said) != 1 else []
        return [*found, f"{self}: {first} first answers"] if first > 1 else found


@dataclass
class Customer:
    """Does one thing after another, each under a key, repeated until it is answered; often at two nodes at once."""

    client: RestClient
    nodes: Sequence[HubProcess]
    random: random.Random
    permits: asyncio.Semaphore
    done: list[Keyed] = field(default_factory=list[Keyed])
    agents: list[str] = field(default_factory=list[str])
    stopping: bool = False

    async def work(self) -> None:
        """Go on as `permits` allow until it is `stopping`; raises AssertionError where a key stays without an answer."""
        while await self.permits.acquire() and not self.stopping:
            keyed = self._next()
            await eventually(
                lambda keyed=keyed: self._try(keyed), within=MOST_SECONDS, every=0.02, what=f"{keyed} has an answer"
            )
            self.done.append(keyed)
            if keyed.path == "/v2/agents":
                self.agents.append(keyed.answers[0].body["id"])

    def _next(self) -> Keyed:
        key = f"{self.random.getrandbits(64):x}"
        choice = self.random.random()
        if choice < 0.4 or not self.agents:
            return Keyed(
                "POST", "/v2/agents", {"name": key, "metadata": {"text": "x" * self.random.randrange(3000)}}, key
            )
        if choice < 0.5:
            events = [
                {"type": "custom.key.used", "subject": f"s{self.random.randrange(3)}", "data": {"key": key}}
                for _ in range(self.random.randrange(1, 6))
            ]
            return Keyed("POST", "/v2/events", {"events": events}, key)
        if choice < 0.75:
            return Keyed("PATCH", f"/v2/agents/{self.random.choice(self.agents)}", {"metadata": {"key": key}}, key)
        if choice < 0.9:
            return Keyed("POST", "/v2/tokens", {"subject": f"user-{key}", "scopes": ["read:agents"]}, key)
        return Keyed("POST", "/v2/keys", {"name": key, "scopes": ["read:agents"]}, key)

    async def _try(self, keyed: Keyed) -> bool:
        """Send it to one node, or to both at once; return whether there was an answer."""
        urls = [node.base_url for node in self.nodes if node.running and node.base_url]
        chosen = self.random.sample(urls, min(len(urls), self.random.choice((1, 2))))
        for answer in await asyncio.gather(*(self.send(keyed, url) for url in chosen)):
            if answer is not None and answer.status not in LATER:
                assert answer.status in (200, 201), (keyed, answer)
                keyed.answers.append(answer)
        return bool(keyed.answers)

    async def send(self, keyed: Keyed, url: str) -> Answer | None:
        """Send it once; None where the node died on the way."""
        headers = {"Idempotency-Key": keyed.key, "X-Request-Timeout": f"{PATIENCE_SECONDS}"}
        try:
            return await self.client.call(keyed.method, keyed.path, keyed.body, base_url=url, **headers)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None


async def test_nothing_is_done_twice_whenever_a_node_is_killed(
    engines: EngineUrls,
    organisation: Organisation,
    redis_url: str,
    seed: int,
    hubs: HubProcesses,
):
    """`kill -9` at random moments of one node, the other, or both, while clients repeat the same keys at either."""
    rng = random.Random(seed)
    urls = EngineUrls(organisation.database_url, engines.superuser_url, redis_url)
    nodes = await hubs.start_many(2, urls=urls)
    key = await organisation.key()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(RestClient("", key))
        permits = asyncio.Semaphore(0)
        customers = [Customer(client, nodes, random.Random(rng.random()), permits) for _ in range(CUSTOMERS)]
        working = [asyncio.create_task(customer.work()) for customer in customers]
        stack.push_async_callback(_end, working)

        def done() -> int:
            for task in working:
                if task.done():
                    task.result()
            return sum(len(customer.done) for customer in customers)

        for _ in range(KILLS):
            _release(permits, MOST_KEYS)
            wanted = done() + rng.randrange(1, MOST_KEYS - CUSTOMERS)
            await eventually(lambda wanted=wanted: done() >= wanted, within=MOST_SECONDS, every=0.001)
            victims = rng.choice(([nodes[0]], [nodes[1]], nodes))
            for node in victims:
                node.kill()
            await asyncio.gather(*(node.start() for node in victims))
        for customer in customers:
            customer.stopping = True
        _release(permits, CUSTOMERS)
        async with asyncio.timeout(MOST_SECONDS + END_SECONDS):
            await asyncio.gather(*working)
        everything = [keyed for customer in customers for keyed in customer.done]
        await _repeat_all(customers, nodes)
        problems = [problem for keyed in everything for problem in keyed.problems()]
        assert problems == [], f"seed {seed}"
        await _check_effects(
            client, nodes[0].base_url, everything, Ledger(organisation.database_url, organisation.id, seed)
        )
    assert await _left_in_flight(organisation) == 0, f"seed {seed}"
    print(f"{len(everything)} keys, {sum(len(keyed.answers) for keyed in everything)} answers")


def _release(permits: asyncio.Semaphore, count: int) -> None:
    for _ in range(count):
        permits.release()


async def _end(tasks: list["asyncio.Task[None]"]) -> None:
    """End what still works, where the test failed before."""
    for task in tasks:
        if not task.done():
            await cancelled(task)


async def _repeat_all(customers: Sequence[Customer], nodes: Sequence[HubProcess]) -> None:
    """Send every key once more, to each node: the first answer comes again, from the memory of all of them."""

    async def repeat(customer: Customer) -> None:
        for keyed in customer.done:
            for node in nodes:
                answer = await customer.send(keyed, node.base_url)
                assert answer is not None, keyed
                assert answer.headers.get("Idempotent-Replayed") == "true", (keyed, answer)
                keyed.answers.append(answer)

    await asyncio.gather(*(repeat(customer) for customer in customers))


async def _check_effects(client: RestClient, url: str, everything: Sequence[Keyed], ledger: Ledger) -> None:
    """Check that there is as much as was asked for, in the state and in the log."""
    made = [keyed for keyed in everything if keyed.path == "/v2/agents"]
    changes = [keyed for keyed in everything if keyed.method == "PATCH"]
    listed = await client.call("GET", "/v2/agents?per_page=1", base_url=url)
    assert listed.body["pagination"]["total"] == len(made), f"seed {ledger.seed}"
    for keyed in made:
        one = f"/v2/agents/{keyed.answers[0].body['id']}"
        version = (await client.call("GET", one, base_url=url)).body["version"]
        assert version == 1 + sum(change.path == one for change in changes), f"seed {ledger.seed}: {one}"
    keys = await client.call("GET", "/v2/keys?per_page=1", base_url=url)
    assert keys.body["pagination"]["total"] == 1 + sum(keyed.path == "/v2/keys" for keyed in everything)
    appended: dict[str, list[int]] = {}
    for keyed in everything:
        if keyed.path == "/v2/events":
            for event in keyed.answers[0].body["events"]:
                ledger.wrote(event["id"])
                appended.setdefault(event["subject"], []).append(event["version"])
        elif "X-Event-Id" in keyed.answers[0].headers:
            ledger.wrote(keyed.answers[0].event_id)
    for subject, versions in appended.items():
        assert sorted(versions) == list(range(1, len(versions) + 1)), f"seed {ledger.seed}: {subject}"
    await ledger.settle()
    ledger.check_log()


async def _left_in_flight(organisation: Organisation) -> int:
    connection: Any = await connect_as(organisation.database_url, "hub_owner")
    try:
        return await connection.fetchval("SELECT count(*) FROM idempotency WHERE result IS NULL")
    finally:
        await connection.close()
