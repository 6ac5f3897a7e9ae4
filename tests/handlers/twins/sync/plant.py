"""Twins whose data is fetched from a server on this machine, over a real database and real workers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from core.auth.caller import Caller
from core.deadline import end_tasks
from core.jobs.jobs import Jobs
from core.jobs.workers import Workers
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Registry
from core.operations.runner import Runner
from core.outbound import Outbound
from core.store.database import Database, connect_as
from handlers.twins.operations import Twins
from handlers.twins.sync.operations import SyncOperations
from handlers.twins.sync.sources import HttpSources
from handlers.twins.sync.work import Synchronisation
from tests.harness.clock import ManualClock
from tests.harness.limiters import limiter_without_redis
from tests.harness.outside import LOOPBACK, Hosts, serving
from tests.harness.waiting import eventually

HOSTS = Hosts({"localhost": ["127.0.0.1"], "metadata.example": ["169.254.169.254"]})


@dataclass
class Source:
    """A server with JSON at `/`, and ways that lead elsewhere."""

    port: int = 0
    body: bytes = b'{"orders": 1}'
    status: int = 200
    tag: str | None = None
    asked: list[web.Request] = field(default_factory=list[web.Request])
    gate: asyncio.Event | None = None  # what an answer waits for

    def url(self, path: str = "/") -> str:
        return f"http://localhost:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if request.path == "/away":
            raise web.HTTPFound("/")
        if request.path == "/metadata":
            raise web.HTTPFound("http://metadata.example/latest")
        if request.path == "/round":
            raise web.HTTPFound("/round")
        if self.gate is not None:
            await self.gate.wait()
        if self.tag is not None and request.headers.get("If-None-Match") == self.tag:
            return web.Response(status=304)
        headers = {} if self.tag is None else {"ETag": self.tag}
        return web.Response(status=self.status, body=self.body, headers=headers)


@dataclass
class Plant:
    """The twins of an organisation, what fetches for them, and their source."""

    url: str
    caller: Caller
    clock: ManualClock
    runner: Runner
    database: Database
    system: Database
    registry: Registry
    synchronisation: Synchronisation
    source: Source
    workers: list[Workers] = field(default_factory=list[Workers])

    async def run(self, name: str, /, **data: Any) -> Any:
        outcome = await self.runner.run(self.registry[name], self.caller, data, request_id="req_1")
        return outcome.result

    async def twin(self, path: str = "/", schedule: str | None = "hourly", **body: Any) -> str:
        source = {"kind": "http", "url": self.source.url(path), **body.pop("source", {})}
        made = await self.run("twins.create", name="Plant", source=source, sync_schedule=schedule, **body)
        return str(made.id)

    async def get(self, id: str) -> dict[str, Any]:
        return orjson.loads((await self.run("twins.get", id=id)).body)

    async def sync(self, id: str) -> dict[str, Any]:
        return orjson.loads((await self.run("sync.get", id=id)).body)

    async def rows(self, query: str, *args: object) -> list[Any]:
        connection = await connect_as(self.url, "hub_owner")
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()

    async def told(self, id: str, *, of: str = "twin.") -> list[str]:
        """Return the types of a twin's events in the order in which they were written."""
        rows = await self.rows("SELECT type FROM outbox WHERE subject = $1 ORDER BY seq", f"twins/{id}")
        return [row["type"] for row in rows if row["type"].startswith(of)]

    def poke(self) -> None:
        for each in self.workers:
            each.poke()

    async def settled(self) -> None:
        """Wait until no job waits or runs."""

        async def none() -> bool:
            self.poke()
            return not await self.rows("SELECT FROM jobs WHERE status IN ('queued', 'running')")

        await eventually(none)

    async def due(self) -> int:
        """Have what is due now be fetched; returns how many twins that were."""
        found = await self.synchronisation.sweep()
        await self.settled()
        return found

    async def fetch(self, id: str) -> dict[str, Any]:
        """Fetch a twin's data by hand; returns how that went."""
        await self.run("sync.run", id=id)
        await self.settled()
        return await self.sync(id)

    async def asked(self, times: int) -> None:
        """Wait until the source was asked so often."""

        def seen() -> bool:
            self.poke()
            return len(self.source.asked) >= times

        await eventually(seen)

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[Workers]:
        workers = Workers(self.url, self.database, self.system, [self.synchronisation.kind], self.clock)
        task = asyncio.create_task(workers.run())
        self.workers.append(workers)
        try:
            yield workers
            assert not task.done(), task
        finally:
            self.workers.remove(workers)
            await end_tasks([task])


@asynccontextmanager
async def plant(url: str, caller: Caller) -> AsyncGenerator[Plant]:
    """Open the parts; names lead to this machine, and to one address that is never called."""
    clock, twins, source = ManualClock(), Twins(), Source()
    database, system = Database(url, role="hub_app"), Database(url, role="hub_system", size=4)
    trail = AuditTrail(url, clock)
    sources = {"http": HttpSources(Outbound(LOOPBACK, clock, HOSTS))}

    def poke() -> None:
        made.poke()

    async with AsyncExitStack() as stack:
        source.port = await stack.enter_async_context(serving(source.answer))
        for each in (database, system, trail):
            stack.push_async_callback(each.close)
        jobs = Jobs(clock, poke)
        synchronisation = Synchronisation(database, jobs, twins, sources, clock, lambda: None)
        registry = Registry.of([*twins.operations(), *SyncOperations(jobs).operations()])
        runner = Runner(database, trail, clock, lambda: None, limiter_without_redis(clock), IdempotencyKeys("a test"))
        made = Plant(url, caller, clock, runner, database, system, registry, synchronisation, source)
        yield made
