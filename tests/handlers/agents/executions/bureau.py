"""What the tests of executions stand on: a database, rooms in Redis, workers, and a provider that the test tells what to say."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from core.clock import SystemClock
from core.deadline import end_tasks
from core.ids import new_id
from core.jobs.jobs import Jobs
from core.jobs.kind import JobKind
from core.jobs.workers import Workers
from core.outbound import Outbound, SystemResolver
from core.seal import Seal
from core.store.database import Database
from core.store.redis import Redis
from handlers.agents.config import config_of
from handlers.agents.credentials import Vault
from handlers.agents.executions import ending
from handlers.agents.executions.announcing import ExecutionEnds
from handlers.agents.executions.beginning import insert, new_execution
from handlers.agents.executions.models import ENDED, Options
from handlers.agents.executions.runtime import Runtime
from handlers.agents.executions.store import SQL
from handlers.agents.models import AgentBody
from handlers.agents.sessions.prompt import history
from handlers.agents.sessions.telling import Standing
from handlers.agents.tools.tool import Rights
from handlers.agents.tools.toolbox import Toolboxes
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.lasting.told import emit
from handlers.models.model import Model
from hub.stream.fanout import Fanout
from rooms.live import LiveRooms
from rooms.live_store import LiveStore
from rooms.recovery import Bookmark
from rooms.switch import Switch
from tests.harness.fake_provider import FakeProvider
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually

NEW_AGENT = """
INSERT INTO hub.agents (org_id, id, version, name, type, status, created_at, updated_at, document, search)
VALUES ($1, $2, 1, $3, 'assistant', 'active', now(), now(), $4, '')
"""


@dataclass(frozen=True)
class OneModel:
    """There is one, whatever its name."""

    model: Model

    def named(self, names: Sequence[str]) -> Model:
        """Return it."""
        del names
        return self.model


@dataclass
class Bureau:
    """Workers of one process, and the rooms that they speak in."""

    url: str
    organisation: Organisation
    database: Database
    system: Database
    live: LiveRooms
    provider: FakeProvider
    model: Model
    clock: SystemClock = field(default_factory=SystemClock)
    workers: list[Workers] = field(default_factory=list[Workers])

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.clock, self.poke)

    @property
    def rights(self) -> Rights:
        return Rights(self.organisation.id, "key:of-a-test", frozenset({"write:agents"}), None)

    def poke(self) -> None:
        for each in self.workers:
            each.poke()

    async def agent(self, name: str = "Ada", **fields: Any) -> UUID:
        """Make an agent."""
        id = new_id()
        body = AgentBody(name=name, **fields).model_dump(mode="json")
        text = orjson.dumps({"id": str(id), **body}).decode()
        await self.organisation.rows(NEW_AGENT, self.organisation.id, id, name, text)
        return id

    async def begin(self, agent_id: UUID, query: str = "How?", **options: Any) -> UUID:
        """Make an execution, queued."""
        async with self.database.transaction(self.organisation.id) as db:
            agent = AgentBody.model_validate({"name": "any"})
            new = new_execution(
                agent_id, config_of(agent), query, {}, Options(**options), self.rights, self.clock.now()
            )
            row = await insert(db, self.jobs, new)
        self.poke()
        return row["id"]

    async def cancel(self, id: UUID) -> None:
        """End an execution from outside."""
        async with self.database.transaction(self.organisation.id) as db:
            ended = await ending.cancel(db, self.jobs, self.organisation.id, id, self.clock.now())
            await emit(db, self.organisation.id, [each.told for each in ended], self.clock.now())
        self.poke()

    async def answer(self, id: UUID, ordinal: int, output: str) -> None:
        """Bring the result of a call that waits."""
        async with self.database.transaction(self.organisation.id) as db:
            answered = (id, ordinal, "completed", output, None, "[]", self.clock.now())
            assert await db.fetchrow(SQL["answer_step"], *answered) is not None
            await self._resume(db, id)
        self.poke()

    async def approve(self, id: UUID, ordinal: int) -> None:
        """Say yes to a call that waits."""
        async with self.database.transaction(self.organisation.id) as db:
            assert await db.fetchrow(SQL["approve_step"], id, ordinal) is not None
            await self._resume(db, id)
        self.poke()

    async def _resume(self, db: Any, id: UUID) -> None:
        await db.fetchrow(SQL["resume"], id)
        await self.jobs.enqueue(db, self.organisation.id, ending.KIND, {"execution": str(id)}, key=str(id))

    async def row(self, id: UUID) -> Any:
        (row,) = await self.organisation.rows("SELECT * FROM executions WHERE id = $1", id)
        return row

    async def steps(self, id: UUID) -> list[Any]:
        return await self.organisation.rows(
            "SELECT * FROM execution_steps WHERE execution_id = $1 ORDER BY ordinal", id
        )

    async def events(self, id: UUID) -> list[str]:
        """Return the types of what the log is told of an execution."""
        rows = await self.organisation.rows(
            "SELECT type FROM outbox WHERE subject = $1 ORDER BY seq", f"executions/{id}"
        )
        return [row["type"].removeprefix("agent.execution.") for row in rows]

    async def becomes(self, id: UUID, *statuses: str) -> Any:
        """Wait until an execution has one of the statuses, and its rooms have heard of it; return its row."""

        async def there() -> Any:
            row = await self.row(id)
            is_told = row["is_announced"] or row["status"] in ("queued", "running")
            return row if row["status"] in statuses and is_told else None

        return await eventually(there, what=f"an execution is {' or '.join(statuses)}")

    async def ends(self, id: UUID) -> Any:
        return await self.becomes(id, *ENDED)

    async def told(self, id: UUID) -> list[dict[str, Any]]:
        """Return what the room of an execution was told: each event's data, with its type."""
        found = await self.live.history(self.organisation.id, f"runs:{id}", Bookmark(0, None), limit=1_000)
        events = [orjson.loads(entry.envelope) for entry in found.entries]
        return [{"type": event["type"].removeprefix("run."), **event["data"]} for event in events]

    @asynccontextmanager
    async def working(self, *more: JobKind) -> AsyncGenerator[Workers]:
        """Workers of a process, which tell of ends, as long as this is open; they do `more` kinds as well."""
        announcer = ExecutionEnds(self.system, self.live, Standing(self.database, self.live), self.clock)
        outbound = Outbound((), self.clock, SystemResolver())
        runtime = Runtime(
            self.database,
            self.jobs,
            self.live,
            OneModel(self.model),
            Toolboxes(self.database, Retriever(), outbound, Vault(Seal("of a test")), self.jobs, self.clock),
            history,
            self.clock,
            poke=lambda: None,
            announce=announcer.wake,
        )
        workers = Workers(self.url, self.database, self.system, [runtime.kind, *more], self.clock)
        tasks = [asyncio.create_task(workers.run()), asyncio.create_task(announcer.run())]
        self.workers.append(workers)
        try:
            yield workers
            assert not any(task.done() for task in tasks), tasks
        finally:
            self.workers.remove(workers)
            await end_tasks(tasks)


@asynccontextmanager
async def opened(
    url: str, redis: Redis, redis_url: str, organisation: Organisation, provider: FakeProvider, model: Model
) -> AsyncGenerator[Bureau]:
    """Open one."""
    clock = SystemClock()
    database, system = Database(url, role="hub_app", size=8), Database(url, role="hub_system", size=4)
    live = LiveRooms(LiveStore(redis), switch=Switch(redis_url, clock=clock), clock=clock, sink=Fanout())
    running = asyncio.create_task(live.run())
    try:
        yield Bureau(url, organisation, database, system, live, provider, model)
    finally:
        await end_tasks([running])
        await live.close()
        await database.close()
        await system.close()


def text_of(told: Sequence[dict[str, Any]]) -> str:
    """Return the text that a reader of these has."""
    text = ""
    for each in told:
        text = text + each["text"] if each["type"] == "delta" else each.get("text", text)
    return text
