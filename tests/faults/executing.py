"""What runs of agents are tried on: two nodes that serve, workers of their own, the fakes outside, and readers of every kind.

Cast       an organisation with an agent, the nodes, the workers, the provider
Readers    of one run: a socket on either node, one that joins in mid-answer, server-sent events
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any

import aiohttp

from core.store.engines import EngineUrls
from tests.faults.agent_provider import Call, Script, again, words_of
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.transcripts import ENDS, Transcript, transcripts_of
from tests.harness.waiting import cancelled, eventually, let_pass
from tests.harness.watcher import Watcher

WORK = (sys.executable, "-m", "hub", "work")
PROVIDER = (sys.executable, "-m", "tests.faults.agent_provider")
MODEL = "of-a-fault-test"
# A run that is left lying for the length of a lease, on a machine that is slow.
END_SECONDS = 120.0
LOST = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass
class Cast:
    """All who take part. `provider` is the address of the fakes."""

    organisation: Organisation
    key: str
    nodes: list[HubProcess]
    workers: list[HubProcess]
    provider: str
    rest: RestClient
    agent: str = ""
    pauses: int = 0
    _numbers: int = 0

    def script(self, **fields: Any) -> Script:
        """Return the script of another run."""
        self._numbers += 1
        url = f"{self.provider}/tool/{self._numbers}"
        script = Script(self._numbers, arguments={"method": "POST", "url": url})
        return replace(script, **fields)

    async def make_agent(self, **config: Any) -> str:
        """Make an agent that may call the tool, and return its id."""
        body = {
            "name": "Tried",
            "capabilities": ["http_request", "delegate"],
            "config": {"http": {"allow": ["127.0.0.1"]}, **config},
        }
        made = await self.rest.call("POST", "/v2/agents", body)
        assert made.status == 201, made
        return str(made.body["id"])

    async def begin(self, script: Script, *, agent: str = "", **headers: str) -> str:
        """Have a run begun, and return its id."""
        path = f"/v2/agents/{agent or self.agent}/execute"
        answer = await self.rest.call("POST", path, {"query": script.text()}, Prefer="respond-async", **headers)
        assert answer.status == 202, answer
        return answer.headers["Location"].rpartition("/")[2]

    async def shown(self, execution: str) -> Any:
        """Return a run as GET shows it."""
        answer = await self.rest.call("GET", f"/v2/executions/{execution}")
        assert answer.status == 200, answer
        return answer.body

    async def ended(self, execution: str) -> Any:
        """Wait for a run's end, and return it as GET shows it."""

        async def it_has() -> Any:
            seen = await self.shown(execution)
            return seen if seen["status"] in ENDS else None

        return await eventually(it_has, within=END_SECONDS, every=0.1, retry_on=LOST, what=f"{execution} has ended")

    async def calls(self) -> list[Call]:
        """Return what the provider and the tool were called for."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.provider}/calls") as answer:
            return [Call(**each) for each in await answer.json()]

    def working(self) -> list[HubProcess]:
        """Return the workers that run, and have come to work."""
        return [each for each in self.workers if each.running and "does jobs" in each.output()]


@asynccontextmanager
async def cast(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation, *, workers: int = 2, **config: Any
) -> AsyncGenerator[Cast]:
    """Start all of them."""
    outside = hubs.prepare(command=PROVIDER)
    outside.launch()
    provider = await eventually(outside.output, what="the provider serves")
    environment = {
        "HUB_OUTBOUND_ALLOW": "127.0.0.0/8",
        "HUB_MODEL_URL": f"{provider.strip()}/v1",
        "HUB_MODEL_NAME": MODEL,
        "HUB_JOBS": "false",
        "HUB_DRAIN": "2",
    }
    nodes = [hubs.prepare(urls=urls, environment=environment) for _ in range(2)]
    of_workers = [hubs.prepare(urls=urls, environment=environment, command=WORK) for _ in range(workers)]
    for each in nodes:
        each.launch()
    await asyncio.gather(*(each.ready() for each in nodes))
    for each in of_workers:
        each.launch()
    key = await organisation.key()
    async with RestClient(nodes[0].base_url, key, timeout=60) as rest:
        made = Cast(organisation, key, nodes, of_workers, provider.strip(), rest)
        made.agent = await made.make_agent(**config)
        await eventually(lambda: len(made.working()) == workers, within=60, what="the workers work")
        yield made


@dataclass
class Events:
    """Somebody who follows a run by server-sent events, at one node or another, and comes again until it has ended."""

    urls: Sequence[str]
    key: str
    execution: str
    transcript: Transcript = field(init=False)
    problems: list[str] = field(default_factory=list[str])
    connections: int = 0

    def __post_init__(self) -> None:
        self.transcript = Transcript(self.execution)

    async def follow(self) -> None:
        """Read until the end is told."""
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "text/event-stream"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for url in cycle(self.urls):
                try:
                    await self._one(session, f"{url}/v2/executions/{self.execution}")
                except LOST:
                    await let_pass(0.1)
                if self.transcript.status is not None:
                    return

    async def _one(self, session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url) as answer:
            if answer.status >= 500:
                await let_pass(0.1)
                return
            assert answer.status == 200, (answer.status, await answer.text())
            if self.connections:
                self.transcript.begins_anew()
            self.connections += 1
            async for kind, data in server_sent(answer):
                if kind.startswith("run."):
                    self.transcript.take(kind, data)
                elif kind != "error":
                    self.problems.append(f"an event of another type: {kind}")


async def server_sent(answer: aiohttp.ClientResponse) -> AsyncGenerator[tuple[str, Any]]:
    """Yield type and data of each event."""
    kind = ""
    async for line in answer.content:
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            told = json.loads(value)
            # An envelope has its data inside.
            yield kind, told["data"] if "data" in told and "type" in told else told


@dataclass
class Readers:
    """The readers of one run."""

    execution: str
    watchers: list[Watcher]
    events: Events
    _task: asyncio.Task[None]

    def statuses(self) -> list[str | None]:
        """Return how the run has ended for each; None: it has not."""
        return [each.status for each in self.transcripts()]

    def transcripts(self) -> list[Transcript]:
        """Return what each was told."""
        of_sockets = [self._of(watcher) for watcher in self.watchers]
        if self._task.done():
            self._task.result()
        return [*of_sockets, self.events.transcript]

    async def have_ended(self) -> None:
        """Wait until each was told of the end."""
        await eventually(
            lambda: all(self.statuses()),
            within=END_SECONDS,
            every=0.2,
            what=f"every reader of {self.execution} was told of its end",
        )

    def check(self, answer: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with what they were told."""
        problems = [f"event stream: {each}" for each in self.events.problems]
        for number, watcher in enumerate(self.watchers):
            problems += [f"socket {number}: {each}" for each in watcher.problems]
        for number, transcript in enumerate(self.transcripts()):
            problems += [f"reader {number} of {self.execution}: {each}" for each in transcript.check(answer)]
        return problems

    def _of(self, watcher: Watcher) -> Transcript:
        told = transcripts_of(watcher.told(watcher.channels[0]))
        return told.get(self.execution) or Transcript(self.execution)


@asynccontextmanager
async def readers(at: Cast, execution: str, rng: random.Random, *, channel: str = "") -> AsyncGenerator[Readers]:
    """Follow a run: one at each node from now on, and one that comes later."""
    streams = [node.stream_url for node in at.nodes]
    channel = channel or f"runs:{execution}"
    watchers = [Watcher([*streams[first:], *streams[:first]], at.key, [channel]) for first in range(len(streams))]
    events = Events([node.base_url for node in at.nodes], at.key, execution)
    async with AsyncExitStack() as stack:
        for watcher in watchers:
            await stack.enter_async_context(watcher)
        task = asyncio.create_task(events.follow())
        stack.push_async_callback(cancelled, task)
        await let_pass(rng.random() * 0.3)
        late = await stack.enter_async_context(Watcher(streams, at.key, [channel]))
        yield Readers(execution, [*watchers, late], events, task)


async def harm(at: Cast, rng: random.Random, kinds: Sequence[str]) -> str:
    """Do something to a worker that works; returns what was done."""
    working = at.working()
    if not working:
        return "nothing"
    worker, kind = rng.choice(working), rng.choice(kinds)
    match kind:
        case "killed":
            worker.kill()
            worker.launch()
        case "stopped":
            at.pauses += 1
            worker.pause()
            await let_pass(rng.choice((rng.uniform(0.5, 3), rng.uniform(16, 20))))
            worker.resume()
        case _:
            assert await worker.stop() == 0
            worker.launch()
    return kind


async def problems_of(at: Cast, run: int, answer: Mapping[str, Any], *, stages: int) -> list[str]:
    """Return what is wrong with a run that was to end completed, by its text and by what was called for it."""
    problems: list[str] = []
    if answer["status"] != "completed":
        return [f"run {run} ended {answer['status']}: {answer['error']}"]
    try:
        parts = words_of(answer["text"])
    except AssertionError as error:
        return [f"run {run}: {error}"]
    if len(parts) != stages:
        problems.append(f"run {run} has {len(parts)} parts, not {stages}: {answer['text']}")
    repeated = again(await at.calls(), run)
    # What wakes after it was outrun may send once what it was about to send.
    if repeated > at.pauses:
        problems.append(f"run {run} has done again {repeated} steps that were stored; {at.pauses} pauses")
    return problems


# What must hold of every run that has ended, whatever has happened; each gives the executions that break it.
_BALANCE = {
    "runs that have not ended": "SELECT id FROM executions WHERE status IN ('queued', 'running', 'requires_action')",
    "ends that nobody announced": "SELECT id FROM executions WHERE NOT is_announced",
    "runs without a time of their end": "SELECT id FROM executions WHERE finished_at IS NULL",
    "sessions that wait for a run that has ended": "SELECT id FROM sessions WHERE active_id IS NOT NULL",
    "jobs that are left": "SELECT id FROM jobs WHERE kind = 'agents.run' AND finished_at IS NULL",
    "steps that are not in a row": (
        "SELECT execution_id FROM execution_steps GROUP BY 1 HAVING max(ordinal) <> count(*) OR min(ordinal) <> 1"
    ),
    "completed runs with steps that have not ended": (
        "SELECT e.id FROM executions e JOIN execution_steps s ON s.org_id = e.org_id AND s.execution_id = e.id "
        "WHERE e.status = 'completed' AND s.status IN ('running', 'waiting')"
    ),
    "completed runs of a session without their message": (
        "SELECT e.id FROM executions e LEFT JOIN messages m ON m.org_id = e.org_id AND m.id = e.answer_id "
        "WHERE e.status = 'completed' AND e.session_id IS NOT NULL AND m.text IS DISTINCT FROM e.text"
    ),
    "runs with another number of messages than one": (
        "SELECT execution_id FROM messages WHERE execution_id IS NOT NULL GROUP BY 1 HAVING count(*) <> 1"
    ),
    "runs whose log has no one start and one end, as they ended": (
        "SELECT e.id FROM executions e LEFT JOIN (SELECT * FROM events WHERE channel LIKE 'agents%%') l "
        "ON l.org_id = e.org_id AND l.subject = 'executions/' || e.id GROUP BY e.id, e.status, e.started_at "
        "HAVING count(*) FILTER (WHERE l.type = 'agent.execution.started') <> (e.started_at IS NOT NULL)::int "
        "OR array_agg(l.type) FILTER (WHERE l.type SIMILAR TO 'agent.execution.(completed|failed|cancelled)') "
        "IS DISTINCT FROM ARRAY['agent.execution.' || e.status]"
    ),
}


async def balance(organisation: Organisation) -> None:
    """Wait until the books balance. Raises AssertionError with what does not."""

    async def unbalanced() -> list[str]:
        found: list[str] = []
        for what, query in _BALANCE.items():
            if rows := await organisation.rows(query):
                found.append(f"{len(rows)} {what}, such as {[str(row[0]) for row in rows[:3]]}")
        return found

    async def balanced() -> bool:
        found = await unbalanced()
        assert found == [], found
        return True

    # Events are moved from the outbox within a moment, and an end is announced after it was written.
    await eventually(balanced, within=30, every=0.2)
