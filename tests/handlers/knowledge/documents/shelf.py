"""Bases with documents over a real database, below the doors: what is put there, and workers that read it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import SystemClock
from core.deadline import end_tasks
from core.jobs.jobs import Jobs
from core.jobs.workers import Workers
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Registry
from core.operations.run import Outcome
from core.operations.runner import Runner
from core.outbound import Outbound
from core.store.database import Database, connect_as
from core.store.statements import Statements
from handlers.knowledge.documents.fetching import Fetcher
from handlers.knowledge.documents.ingestion import Ingestion
from handlers.knowledge.documents.operations import Documents
from handlers.knowledge.documents.purging import purging
from handlers.knowledge.documents.queueing import Queue
from handlers.knowledge.documents.sources import Sources
from handlers.knowledge.operations import Knowledge
from handlers.knowledge.parsing.parse import parse
from handlers.knowledge.parsing.parsed import Parsed
from handlers.knowledge.retrieval.index import Index
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.knowledge.retrieval.search import Search
from tests.harness.limiters import limiter_without_redis
from tests.harness.outside import LOOPBACK, Hosts
from tests.harness.waiting import eventually

MOST_BYTES = 1 << 30


@dataclass
class Reader:
    """Reads in this process; where there is a gate it waits there first, and notes whom it reads."""

    gate: asyncio.Event | None = None
    names: list[str] = field(default_factory=list[str])

    async def parse(self, content: bytes, content_type: str, name: str) -> Parsed:
        self.names.append(name)
        if self.gate is not None:
            await self.gate.wait()
        return parse(content, content_type, name)


class NoVectors:
    """Nothing is embedded."""

    async def ask(self, db: Statements, org_id: UUID, knowledge_id: UUID, document_id: UUID | None) -> None:
        """Do nothing."""


@dataclass
class Shelf:
    """The operations, and what is done by jobs."""

    url: str
    caller: Caller
    runner: Runner
    database: Database
    system: Database
    operations: Registry
    ingestion: Ingestion
    reader: Reader
    jobs: Jobs
    workers: list[Workers] = field(default_factory=list[Workers])

    async def outcome(self, name: str, caller: Caller | None = None, key: str | None = None, /, **data: Any) -> Outcome:
        caller = caller or self.caller
        return await self.runner.run(self.operations[name], caller, data, request_id="req_1", idempotency_key=key)

    async def run(self, name: str, caller: Caller | None = None, /, **data: Any) -> Any:
        return (await self.outcome(name, caller, **data)).result

    async def base(self, **fields: Any) -> str:
        """Make a base; returns its id."""
        return str((await self.run("knowledge.create", **{"name": "Docs", **fields})).id)

    async def put(self, base: str, *documents: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
        """Put documents; returns them as they were taken."""
        given = {"documents": list(documents)} if documents else {}
        shown = await self.run("documents.create", id=base, **given, **fields)
        return orjson.loads(shown.body)["data"]

    async def get(self, base: str, id: str) -> dict[str, Any]:
        return orjson.loads((await self.run("documents.get", id=base, document=id)).body)

    async def found(self, question: str, *bases: str) -> list[str]:
        """Return the texts that a question finds."""
        search = Search(question, tuple(UUID(each) for each in bases) or None, 20)
        async with self.database.read(self.caller.org_id) as db:
            return [hit.text for hit in (await Retriever().find(db, search, None)).hits]

    async def rows(self, query: str, *args: object) -> list[Any]:
        connection = await connect_as(self.url, "hub_owner")
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()

    async def content(self, base: str, id: str, **more: Any) -> bytes:
        poured = await self.run("documents.content", id=base, document=id, **more)
        return b"".join([part async for part in poured.parts])

    def poke(self) -> None:
        for each in self.workers:
            each.poke()

    async def eventually(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async def seen() -> bool:
            self.poke()
            return await condition()

        await eventually(seen)

    async def settled(self) -> None:
        """Wait until no job waits or runs."""

        async def none() -> bool:
            return not await self.rows("SELECT FROM jobs WHERE status IN ('queued', 'running')")

        await self.eventually(none)

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[Workers]:
        kinds = [self.ingestion.kind, purging()]
        workers = Workers(self.url, self.database, self.system, kinds, SystemClock())
        task = asyncio.create_task(workers.run())
        self.workers.append(workers)
        try:
            yield workers
            assert not task.done(), task
        finally:
            self.workers.remove(workers)
            await end_tasks([task])


@asynccontextmanager
async def shelf(url: str, caller: Caller, *, most_bytes: int = MOST_BYTES) -> AsyncGenerator[Shelf]:
    """Open the parts; names lead to this machine alone."""
    clock, index, reader = SystemClock(), Index(), Reader()
    database, system = Database(url, role="hub_app"), Database(url, role="hub_system", size=4)
    trail = AuditTrail(url, clock)
    fetcher = Fetcher(Outbound(LOOPBACK, clock, Hosts({"localhost": ["127.0.0.1"], "far.example": ["203.0.113.7"]})))

    def poke() -> None:
        made.poke()

    async with AsyncExitStack() as stack:
        for each in (database, system, trail):
            stack.push_async_callback(each.close)
        jobs = Jobs(clock, poke)
        documents = Documents(database, Queue(jobs), index, fetcher, clock, most_bytes)
        ingestion = Ingestion(database, reader, index, fetcher, NoVectors(), jobs, clock, lambda: None, most_bytes)
        registry = Registry.of([*documents.operations(), *Knowledge(Sources(Queue(jobs))).operations()])
        runner = Runner(database, trail, clock, lambda: None, limiter_without_redis(clock), IdempotencyKeys("a test"))
        made = Shelf(url, caller, runner, database, system, registry, ingestion, reader, jobs)
        yield made
