"""The world of the ledger's fault test: two nodes, a worker, consumers of every kind, a writer, and what kills them.

All are processes, on engines of their own. What is killed is started again at once. `kills` counts, `faults` has when.
"""

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from core.store.database import connect_as
from core.store.migrate import migrate
from core.store.session import DATABASE_AWAY
from tests.faults.consuming import Plan
from tests.faults.subscribers import Kind, Made, Wish, command
from tests.harness.engines import PrivateEngines
from tests.harness.handed_out import DEAD_LETTERED, Entry, History, Letter, Promise, Totals, problems_of
from tests.harness.hub_process import SERVE, HubProcess, HubProcesses
from tests.harness.journal import Noted, digest_of
from tests.harness.ledger import Ledger, Logged, problems_of_log
from tests.harness.organisations import Organisation, Organisations
from tests.harness.rest_client import LATER, Answer, RestClient
from tests.harness.waiting import eventually, let_pass

NODES = 2
ENVIRONMENT = {"HUB_DRAIN": "2", "HUB_LOG": "warning", "HUB_OUTBOUND_ALLOW": "127.0.0.0/8"}
WORK = (sys.executable, "-m", "hub", "work")
# A webhook's next attempts are hours away, and who has died with one is given a minute: here they are not.
HURRY = "UPDATE hub.subscriptions SET delays = '{0.5,2,2,5,5,10,10}', ack_seconds = 20 WHERE delivery = 'push'"
LOG = "SELECT position, event_id, type, subject, envelope FROM hub.events WHERE org_id = $1 ORDER BY position"
LETTERS = """
SELECT id::text, subscription_id::text, position, event_id::text, replay_id IS NOT NULL AS replayed, reason, attempts,
       extract(epoch FROM died_at)::double precision AS died_at
FROM hub.dead_letters WHERE org_id = $1
"""
HELD = re.compile(r"^hub_relay_shards_held (\d+)", re.MULTILINE)
AWAY = (*DATABASE_AWAY, aiohttp.ClientError, TimeoutError, AssertionError)
START_SECONDS = 120.0
# Of a thousand events or so, on a machine that others use too.
WRITE_SECONDS = 600.0
KINDS_OF_SUBJECTS = {"agents": 5, "knowledge": 3, "twins": 2}


@dataclass
class World:
    """Make it with `begin`; then `live` and `check`."""

    engines: PrivateEngines
    hubs: HubProcesses
    folder: Path
    organisation: Organisation
    key: str
    client: RestClient
    chance: random.Random
    kinds: Mapping[str, Kind]
    nodes: list[HubProcess] = field(default_factory=list[HubProcess])
    consumers: list[tuple[str, HubProcess]] = field(default_factory=list[tuple[str, HubProcess]])
    made: list[Made] = field(default_factory=list[Made])
    replays: list[tuple[str, Promise]] = field(default_factory=list[tuple[str, Promise]])
    subjects: list[str] = field(default_factory=list[str])
    acknowledged: list[str] = field(default_factory=list[str])
    kills: Counter[str] = field(default_factory=Counter[str])
    faults: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    waits_for: list[str] = field(default_factory=list[str])

    # Its beginning.

    async def begin(self, wishes: Sequence[Wish], subjects: int) -> None:
        """Start all of it: nodes, a worker, what events are of, the subscriptions and who consumes them."""
        (self.folder / "journals").mkdir()
        self.nodes = [
            self.hubs.prepare(urls=self.engines.urls, environment=ENVIRONMENT, command=serve)
            for serve in ((*SERVE, "--no-jobs"), SERVE)
        ]
        self.work = self.hubs.prepare(urls=self.engines.urls, environment=ENVIRONMENT, command=WORK)
        for each in self.nodes:
            await each.start(within=START_SECONDS)
        self.work.launch()
        self._tell_nodes()
        await self._make_subjects(subjects)
        for wish in wishes:
            self.made.append(await self.kinds[wish.kind].make(self.ask, wish, self.subjects))
        await self._hurry()
        for name, kind in self.kinds.items():
            self._start_consumers(name, kind)
        await self._is_up(self.work, "does jobs")
        for _, each in self.consumers:
            await self._is_up(each, "consumes")

    async def _hurry(self) -> None:
        connection: Any = await connect_as(self.engines.urls.database_url, "hub_system")
        try:
            await connection.execute(HURRY)
        finally:
            await connection.close()

    async def _make_subjects(self, count: int) -> None:
        for kind, tenths in KINDS_OF_SUBJECTS.items():
            several = [("POST", f"/v2/{kind}", {"name": f"{n}"}) for n in range(count * tenths // 10)]
            self.subjects += [f"{kind}/{body['id']}" for body in await self.batch(several)]

    def _start_consumers(self, name: str, kind: Kind) -> None:
        told = [each.told for each in self.made if each.wish.kind == name]
        for number in range(kind.processes if told else 0):
            path = self.folder / f"{name}-{number}.json"
            seed = f"{self.chance.random()}"
            Plan(self.key, seed, self.folder / "journals", self.folder / "nodes", told, kind.port).write(path)
            process = self.hubs.prepare(urls=self.engines.urls, command=command(kind, str(path)))
            process.launch()
            self.consumers.append((name, process))

    def _tell_nodes(self) -> None:
        """Have the consumers know where the nodes are; they may read it at any moment."""
        path = self.folder / "nodes.new"
        path.write_text(json.dumps([each.base_url for each in self.nodes if each.base_url]))
        path.replace(self.folder / "nodes")

    async def _is_up(self, process: HubProcess, word: str) -> None:
        def says() -> bool:
            assert process.running or process.exit_code is None, process.output()
            return word in process.output()

        await eventually(says, within=START_SECONDS, what=f"{word}\n{process.output()[-2000:]}")

    # What happens in it.

    async def ask(self, method: str, path: str, body: Any) -> Any:
        """Send a request until it is answered, at any node, once under its key; return the body of the answer."""
        key, answers = f"{self.chance.getrandbits(64):x}", list[Answer]()

        async def answered() -> bool:
            answer = await self.client.call(method, path, body, base_url=self._node(), Idempotency_Key=key)
            answers.append(answer)
            return answer.status not in LATER and not any(
                each["status"] in LATER for each in (answer.body.get("results", ()) if path == "/v2/batch" else ())
            )

        await eventually(answered, within=START_SECONDS, every=0.1, retry_on=AWAY, what=f"{method} {path}")
        assert 200 <= answers[-1].status < 300, answers[-1]
        return answers[-1].body

    async def batch(self, several: Sequence[tuple[str, str, Any]]) -> list[Any]:
        """Write; note the events of what was answered, and return what they were answered."""
        bodies: list[Any] = []
        for begin in range(0, len(several), 100):
            operations = [{"method": m, "path": p, "body": b} for m, p, b in several[begin : begin + 100]]
            results = (await self.ask("POST", "/v2/batch", {"operations": operations}))["results"]
            assert all(200 <= each["status"] < 300 for each in results), results
            self.acknowledged += [each["headers"]["X-Event-Id"] for each in results]
            bodies += [each["body"] for each in results]
        return bodies

    def _node(self) -> str:
        return self.chance.choice([each.base_url for each in self.nodes if each.base_url] or [""])

    async def write(self, count: int) -> None:
        """Write so many events: changes of what is there, a few of what is new."""
        while count > 0:
            several = min(count, self.chance.choice((1, 10, 50, 100)))
            made = await self.batch([self._change() for _ in range(several)])
            count -= len(made)

    def _change(self) -> tuple[str, str, Any]:
        if self.chance.random() < 0.05:
            return "POST", f"/v2/{self.chance.choice(list(KINDS_OF_SUBJECTS))}", {"name": "later"}
        return "PATCH", f"/v2/{self.chance.choice(self.subjects)}", {"metadata": {"n": self.chance.random()}}

    async def replay(self, made: Made) -> None:
        """Begin the replay that its wish has."""
        target = next(each for each in self.made if each.wish.name == (made.wish.replays_into or made.wish.name))
        body = {"from": {"position": "0"}, **({} if target is made else {"target": target.promise.id})}
        answer = await self.ask("POST", f"/v2/subscriptions/{made.promise.id}/replay", body)
        # By the filter of whose replay it is, in the order and with the attempts of who gets it.
        promise = replace(
            made.promise,
            name=target.wish.name,
            id=target.promise.id,
            ordered=target.promise.ordered,
            attempts=target.promise.attempts,
            behind=0,
            upto=int(answer["upto"]),
            replayed=True,
        )
        self.replays.append((f"/v2/subscriptions/{made.promise.id}/replays/{answer['id']}", promise))

    async def kill(self, what: str) -> None:
        """SIGKILL, and wait until it is back. `what` is `relay`, `node`, `work`, `postgres` or a kind of consumers."""
        began = time.time()
        self.kills[what] += 1
        match what:
            case "relay" | "node":
                holder = await self._relays()
                await self._restart_node(holder if what == "relay" else next(n for n in self.nodes if n is not holder))
            case "work":
                self.work.kill()
                self.work.launch()
                await self._is_up(self.work, "does jobs")
            case "postgres":
                (await self.engines.postgres()).kill()
                await self.engines.answering(within=START_SECONDS)
            case _:
                victim = self.chance.choice([each for kind, each in self.consumers if kind == what])
                victim.kill()
                await let_pass(self.chance.uniform(0, 0.5))  # the length is the fault
                victim.launch()
                await self._is_up(victim, "consumes")
        self.faults.append((began, time.time()))

    async def _restart_node(self, node: HubProcess) -> None:
        node.kill()
        await node.start(within=START_SECONDS)
        self._tell_nodes()

    async def _relays(self) -> HubProcess:
        """Return the node that moves most of what is moved into the log."""

        async def holder() -> HubProcess | None:
            held: list[int] = []
            for node in self.nodes:
                metrics = await self.client.call("GET", "/metrics", base_url=node.base_url)
                found = HELD.search(metrics.text)
                held.append(int(found.group(1)) if found else 0)
            return self.nodes[held.index(max(held))] if any(held) else None

        return await eventually(holder, within=START_SECONDS, every=0.1, retry_on=AWAY, what="a relay holds something")

    # Its end.

    async def rest(self, within: float) -> None:
        """Wait until all is handed out and answered."""
        ledger = Ledger(self.engines.urls.database_url, self.organisation.id, "")
        await ledger.settle(within=within)

        async def done() -> bool:
            replays = [(await self._get(path)) for path, _ in self.replays]
            states = [(await self._get(f"/v2/subscriptions/{each.promise.id}")) for each in self.made]
            self.waits_for = [f"{s['name']}: lag {s['lag']}, {s['outstanding']}" for s in states]
            return all((s["status"], s["outstanding"]) == ("done", 0) for s in replays) and all(
                (s["lag"], s["outstanding"]) == (0, 0) for s in states
            )

        try:
            await eventually(done, within=within, every=0.25, retry_on=AWAY, what="all has been answered")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.waits_for}") from None
        for _, each in self.consumers:
            assert await each.stop() == 0, each.output()

    async def _get(self, path: str) -> Any:
        answer = await self.client.call("GET", path, base_url=self._node())
        assert answer.status == 200, answer
        return answer.body

    async def check(self) -> tuple[Totals, list[str]]:
        """Return what was counted, and all that is wrong."""
        log, letters = await self._books()
        noted, totals = Noted.of(self.folder / "journals"), Totals()
        mine = [each for each in log if each.type != DEAD_LETTERED]
        # What the consumers' refusals have written is in the log too; all else was written here, each once.
        found = [*noted.wrong, *problems_of_log(self.acknowledged, _logged(log), uncertain=len(log) - len(mine))]
        if len(mine) != len(self.acknowledged):
            found.append(f"{len(mine)} events are in the log, and {len(self.acknowledged)} were written")
        for promise in [*(each.promise for each in self.made), *(each for _, each in self.replays)]:
            history = History(
                [each for each in noted.receipts[promise.name] if each.replayed == promise.replayed],
                [e for e in letters if (e.subscription_id, e.replayed) == (promise.id, promise.replayed)],
                noted.unanswered[promise.name],
                self.faults,
            )
            totals.count(promise.wanted(log), history)
            found += problems_of(promise, log, history)
        return totals, found

    async def _books(self) -> tuple[list[Entry], list[Letter]]:
        connection: Any = await connect_as(self.engines.urls.database_url, "hub_system")
        try:
            log = [_entry(row) for row in await connection.fetch(LOG, self.organisation.id)]
            letters = [Letter(*row) for row in await connection.fetch(LETTERS, self.organisation.id)]
        finally:
            await connection.close()
        return log, letters


def _entry(row: Any) -> Entry:
    data = json.loads(row["envelope"])["data"]
    letter = data["dead_letter_id"] if row["type"] == DEAD_LETTERED else ""
    return Entry(row["position"], str(row["event_id"]), row["type"], row["subject"], digest_of(data), letter)


def _logged(log: Sequence[Entry]) -> list[Logged]:
    return [Logged(each.position, each.event_id, "", {}) for each in log]


async def live(world: World, events: int, kills: Sequence[str]) -> None:
    """Write the events, while one after the other is killed, and is back before the next; half way replays begin."""
    for number, what in enumerate(kills):
        share = events * (number + 1) // len(kills) - events * number // len(kills)
        before = world.chance.randint(0, share)
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(world.write(share))
            written = len(world.acknowledged)
            await eventually(
                lambda w=writing, n=written + before: w.done() or len(world.acknowledged) >= n,
                within=WRITE_SECONDS,
                what="events are written",
            )
            await world.kill(what)
        if number == len(kills) // 2:
            for made in world.made:
                if made.wish.replays:
                    await world.replay(made)


@asynccontextmanager
async def world(
    engines: PrivateEngines, hubs: HubProcesses, kinds: Mapping[str, Kind], folder: Path, seed: object
) -> AsyncGenerator[World]:
    """Give a world that has engines, an organisation and its key, and nothing else yet."""
    urls = await engines.start()
    await migrate(urls.database_url)
    organisation = await Organisations(urls.database_url).create()
    key = await organisation.key()
    async with RestClient("", key, timeout=30) as client, AsyncExitStack() as stack:
        for kind in kinds.values():
            stack.callback(kind.close)
        yield World(engines, hubs, folder, organisation, key, client, random.Random(f"{seed}"), kinds)
