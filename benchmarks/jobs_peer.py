"""procrastinate with httpx beside the hub's webhooks: tables of its own in the hub's PostgreSQL, jobs in place of events."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import asyncpg
import orjson

from benchmarks.bench import Bench
from benchmarks.deliverers import SLOTS, Engines, Line
from benchmarks.job import NUMBER
from benchmarks.peers.catalogue import INSTALLED
from benchmarks.publisher import event_template
from benchmarks.receiving import receiving
from benchmarks.server import CHECKOUT, ServerProcess, clean_environment
from core.store.database import connect_as

_PYTHON = INSTALLED / "venv" / "bin" / "python"
_SCRIPT = CHECKOUT / "benchmarks" / "peers" / "servers" / "procrastinate_worker.py"
_SCHEMA = "procrastinate"
_SETTINGS = {"search_path": _SCHEMA, "role": "hub_owner"}
# As procrastinate itself defers jobs; the event is bound once for each.
_DEFER = """
SELECT procrastinate_defer_jobs_v1(
    array_agg(ROW('events', 'deliver', 0, NULL, NULL, args, NULL)::procrastinate_job_to_defer_v1))
FROM unnest($1::jsonb[]) AS args
"""


def schema() -> str | None:
    """Return the tables of the installed procrastinate; None where it is not installed."""
    found = next(INSTALLED.glob("venv/lib/python*/site-packages/procrastinate/sql/schema.sql"), None)
    return None if found is None else found.read_text()


class Procrastinate:
    """A job an event, deferred in a transaction of its own, done by one worker."""

    key, title = "procrastinate", "procrastinate, whose jobs post with httpx"

    def __init__(self, bench: Bench, engines: Engines, sizes: tuple[float, int]) -> None:
        self.per_second, self.backlog = sizes
        self._bench = bench
        self._engines = engines

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Line]:
        """Make its tables anew, and start receiver and worker."""
        url = await self._made()
        pool = await asyncpg.create_pool(
            self._bench.hub.database_url, min_size=SLOTS, max_size=SLOTS, server_settings=_SETTINGS
        )
        try:
            async with receiving("hooks", {}) as receiver:
                command = (str(_PYTHON), str(_SCRIPT), url, f"http://127.0.0.1:{receiver.port}/")
                log = self._bench.folder / "procrastinate.log"
                worker = ServerProcess(command, cores=self._bench.cores, environment=clean_environment(), log=log)
                await worker.start()
                try:
                    yield Line(_JobPublisher(pool), receiver, worker, [self._engines.database])
                finally:
                    await worker.stop()
        finally:
            await pool.close()

    async def _made(self) -> str:
        """Make the tables; returns how the worker connects."""
        url = self._bench.hub.database_url
        owner = await connect_as(url, None)
        try:
            await owner.execute(
                f"SET ROLE hub_owner; DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE; RESET ROLE;"
                f"CREATE SCHEMA {_SCHEMA} AUTHORIZATION hub_owner"
            )
            await owner.execute(f"SET ROLE hub_owner; SET search_path = {_SCHEMA}; {schema()}")
        finally:
            await owner.close()
        options = quote(" ".join(f"-c {name}={value}" for name, value in _SETTINGS.items()))
        return f"{url}{'&' if '?' in url else '?'}options={options}"


class _JobPublisher:
    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._event = event_template()

    async def publish(self, slot: int, number: int) -> None:
        del slot
        await self._pool.execute(_DEFER, [self._args(number)])

    async def publish_all(self, numbers: range) -> None:
        await self._pool.execute(_DEFER, [self._args(number) for number in numbers])

    def _args(self, number: int) -> str:
        return orjson.dumps({"event": self._event.replace(NUMBER, f"{number:0{len(NUMBER)}}")}).decode()
