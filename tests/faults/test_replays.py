"""A replay on a node that is killed in its middle: it goes on where it was, and stays apart from what is live."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import aiohttp

from core.deadline import end_tasks
from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

AGENTS, EVENTS = 5, 300
AWAY = (aiohttp.ClientError, TimeoutError)
HEAD = "SELECT position FROM heads WHERE org_id = $1"


class Consumer:
    """Pulls and acknowledges; notes what it was given, in order, and what it was told is done."""

    def __init__(self, client: RestClient, node: HubProcess, path: str) -> None:
        self.client, self.node, self.path = client, node, path
        self.given: list[tuple[int, bool, str]] = []
        self.done: list[int] = []
        self.doubles: list[int] = []
        self.turned = asyncio.Event()

    @property
    def replayed(self) -> int:
        """How much of the past is done."""
        return sum(position <= EVENTS for position in self.done)

    async def work(self) -> None:
        """Go on until it is cancelled."""
        while True:
            # Killed, or on its way: the answer is lost, and what was handed out comes again.
            with contextlib.suppress(*AWAY):
                await eventually(lambda: self.node.base_url, within=90)
                await self._turn()
            self.turned.set()

    async def _turn(self) -> None:
        pulled = await self._ask("pull", {"max": 10, "wait_seconds": 1})
        if pulled is None:
            return
        for each in pulled["deliveries"]:
            position = int(each["position"])
            self.given.append((position, each["replayed"], each["event"]["subject"]))
            if position in self.done:
                self.doubles.append(position)
        by_ack = {each["ack_id"]: int(each["position"]) for each in pulled["deliveries"]}
        said = await self._ask("ack", {"ack_ids": list(by_ack)}) if by_ack else None
        self.done += [by_ack[each] for each in (said or {"done": []})["done"]]

    async def _ask(self, what: str, body: Any) -> Any:
        answer = await self.client.call("POST", f"{self.path}/{what}", body, base_url=self.node.base_url)
        return answer.body if answer.status == 200 else None


async def history(client: RestClient, organisation: Organisation) -> list[str]:
    """Write a log of EVENTS events of some agents; returns their ids."""
    agents = [(await client.call("POST", "/v2/agents", {"name": f"A{n}"})).body["id"] for n in range(AGENTS)]
    changes = [
        {"method": "PATCH", "path": f"/v2/agents/{agents[n % AGENTS]}", "body": {"name": f"B{n}"}}
        for n in range(EVENTS - AGENTS)
    ]
    for first in range(0, len(changes), 50):
        answer = await client.call("POST", "/v2/batch", {"operations": changes[first : first + 50]})
        assert {each["status"] for each in answer.body["results"]} == {200}

    await eventually(lambda: all_is_logged(organisation), what="all is in the log")
    assert await organisation.rows(HEAD, organisation.id) == [(EVENTS,)]
    return agents


async def all_is_logged(organisation: Organisation) -> bool:
    """Tell whether what was answered has its place in the log."""
    return not await organisation.rows("SELECT 1 FROM outbox WHERE org_id = $1", organisation.id)


async def begin(client: RestClient, node: HubProcess, *, ordered: bool) -> tuple[Consumer, str]:
    """Make a subscription to what comes, and replay into it what has been; returns its consumer, and the replay's path."""
    body = {"name": f"ordered {ordered}", "ordered": ordered, "ack_seconds": 2, "max_deliveries": 1_000}
    path = f"/v2/subscriptions/{(await client.call('POST', '/v2/subscriptions', body)).body['id']}"
    replay = await client.call("POST", f"{path}/replay", {"from": {"position": "0"}})
    assert (replay.status, replay.body["upto"]) == (201, str(EVENTS)), replay
    return Consumer(client, node, path), f"{path}/replays/{replay.body['id']}"


async def write_live(client: RestClient, consumer: Consumer, agents: list[str], enough: asyncio.Event) -> None:
    """Change something each time somebody has pulled, so that what is live never starves the replay, until it is `enough`."""
    node, number = consumer.node, 0
    while not enough.is_set():
        await consumer.turned.wait()
        consumer.turned.clear()
        with contextlib.suppress(*AWAY):
            await eventually(lambda: node.base_url, within=90)
            number += 1
            path = f"/v2/agents/{agents[number % AGENTS]}"
            await client.call("PATCH", path, {"name": f"live {number}"}, base_url=node.base_url)


class Watch:
    """Asks the node about replays and subscriptions, wherever it is now."""

    def __init__(self, client: RestClient, node: HubProcess, begun: Sequence[tuple[Consumer, str]]) -> None:
        self.client, self.node, self.begun = client, node, begun

    async def get(self, path: str) -> Any:
        """Return what is at a path."""
        answer = await self.client.call("GET", path, base_url=self.node.base_url)
        assert answer.status == 200, answer
        return answer.body

    async def replays(self) -> list[Any]:
        """Return how far the replays are."""
        return [await self.get(path) for _, path in self.begun]

    async def kill_at(self, share: float) -> None:
        """Kill the node when so much of the first replay is done, and start it again: no replay begins anew."""
        first = self.begun[0][0]
        await eventually(lambda: first.replayed >= EVENTS * share, within=90)
        before = await self.replays()
        self.node.kill()
        assert before[0]["status"] == "running"
        await self.node.start()
        for then, now in zip(before, await self.replays(), strict=True):
            assert int(now["position"]) >= int(then["position"])

    async def is_replayed(self) -> bool:
        """Tell whether all of the past is acknowledged."""
        return all((each["status"], each["outstanding"]) == ("done", 0) for each in await self.replays())

    async def is_idle(self) -> bool:
        """Tell whether all that is live is acknowledged too."""
        told = [await self.get(consumer.path) for consumer, _ in self.begun]
        return all((each["lag"], each["outstanding"]) == (0, 0) for each in told)


def check_order(consumer: Consumer) -> None:
    """Of a subject the past came in order, and what was live too."""
    by_subject: dict[tuple[str, bool], list[int]] = {}
    for position, is_past, subject in consumer.given:
        by_subject.setdefault((subject, is_past), []).append(position)
    for positions in by_subject.values():
        assert positions == sorted(positions)


async def test_replay_goes_on_where_a_killed_node_had_left_it(
    database_url: str, redis_url: str, engines: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """Ordered or not: nothing is missed, what is done does not come again, the past is marked and what is live is not."""
    node = await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))
    async with RestClient(node.base_url, await organisation.key(), timeout=20) as client:
        agents = await history(client, organisation)
        watch = Watch(client, node, [await begin(client, node, ordered=ordered) for ordered in (False, True)])
        consumers = [consumer for consumer, _ in watch.begun]
        enough = asyncio.Event()
        writing = asyncio.create_task(write_live(client, consumers[0], agents, enough))
        tasks = [writing, *(asyncio.create_task(consumer.work()) for consumer in consumers)]
        try:
            await watch.kill_at(0.25)
            await watch.kill_at(0.5)
            await eventually(watch.is_replayed, within=90, what="both are replayed")
            enough.set()
            await writing
            await eventually(lambda: all_is_logged(organisation), what="all is in the log")
            await eventually(watch.is_idle, within=90, what="what is live is done too")
            assert [each["placed"] for each in await watch.replays()] == [EVENTS, EVENTS]
        finally:
            await end_tasks(tasks)
    head = (await organisation.rows(HEAD, organisation.id))[0]["position"]
    assert head > EVENTS
    for consumer in consumers:
        assert {position for position, _, _ in consumer.given} == set(range(1, head + 1))
        assert all(is_replayed == (position <= EVENTS) for position, is_replayed, _ in consumer.given)
        assert consumer.doubles == []
    check_order(consumers[1])
