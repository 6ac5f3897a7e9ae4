"""Twins that measure: the operations over a real database, with rooms that only note what they are told."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import Clock, rfc3339
from core.ids import new_id
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Registry
from core.operations.runner import Runner
from core.pressure import Pressure, Scale
from core.store.database import Database, connect_as
from handlers.twins.operations import Twins
from handlers.twins.telemetry.intake import Intake
from handlers.twins.telemetry.keeping import Keeping
from handlers.twins.telemetry.operations import Telemetry
from handlers.twins.telemetry.telling import Telling
from rooms.live import Published
from tests.harness.limiters import limiter_without_redis

KEEPING = Keeping(points=30, seconds=30, minutes=365, hours=1825)


class Notebook:
    """Rooms that note what they are told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    async def publish(self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str) -> Published:
        _ = org_id, source
        self.said.append((channel, orjson.loads(data)["metrics"]))
        assert type == "twin.telemetry"
        return Published(new_id(), len(self.said), "e")


class Station:
    """One node of it."""

    def __init__(self, url: str, database: Database, runner: Runner, caller: Caller, clock: Clock) -> None:
        self.url = url
        self.caller = caller
        self.clock = clock
        self.rooms = Notebook()
        self.pokes = 0
        self.telling = Telling(self.rooms)
        self.pressure = Pressure(clock, {"work": Scale((1, 2, 3, 4, 5))})
        self.intake = Intake(database, self.telling, clock, self._poke, days=KEEPING.points, pressure=self.pressure)
        self.telemetry = Telemetry(self.intake, KEEPING)
        self._runner = runner
        kinds = (Twins(), self.telemetry)
        self._operations = Registry.of(each for kind in kinds for each in kind.operations())

    async def run(self, name: str, caller: Caller | None = None, /, **data: Any) -> Any:
        done = await self._runner.run(self._operations[name], caller or self.caller, data, request_id="req_1")
        return done.result

    async def twin(self, **body: Any) -> str:
        return str((await self.run("twins.create", **{"name": "Pump", **body})).id)

    def at(self, seconds: float) -> str:
        """Return a time so many seconds from now."""
        return rfc3339(self.moment(seconds))

    def moment(self, seconds: float) -> datetime:
        return self.clock.now() + timedelta(seconds=seconds)

    def point(self, value: float, seconds: float, metric: str = "heat") -> dict[str, Any]:
        return {"metric": metric, "value": value, "time": self.at(seconds)}

    async def append(self, twin: str, *points: dict[str, Any]) -> None:
        stored = orjson.loads((await self.run("telemetry.append", id=twin, points=list(points))).body)
        assert stored == {"stored": len(points)}

    async def series(self, twin: str, step: str, metric: str = "heat", *, begin: float, end: float, **more: Any) -> Any:
        asked = {"from": self.at(begin), "to": self.at(end), "step": step, **more}
        answer = orjson.loads((await self.run("telemetry.query", id=twin, metric=metric, **asked)).body)
        return answer["series"][metric]

    async def latest(self, twin: str) -> Any:
        return orjson.loads((await self.run("telemetry.latest", id=twin)).body)["metrics"]

    async def alerts(self, twin: str, **query: Any) -> list[Any]:
        return [orjson.loads(item) for item in (await self.run("alerts.list", id=twin, **query)).items]

    async def told(self) -> Sequence[tuple[str, Any]]:
        """Return what the log is told of alerts, in order: raised or cleared, and the data."""
        rows = await self.rows("SELECT envelope FROM outbox WHERE type LIKE 'twin.alert.%' ORDER BY seq")
        events = [orjson.loads(row["envelope"]) for row in rows]
        return [(event["type"].rpartition(".")[2], event["data"]) for event in events]

    async def rows(self, query: str, *args: object) -> list[Any]:
        connection = await connect_as(self.url, "hub_owner")
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()

    def _poke(self) -> None:
        self.pokes += 1


@asynccontextmanager
async def opened(url: str, caller: Caller, clock: Clock) -> AsyncGenerator[Station]:
    """Give a node of it."""
    database = Database(url, role="hub_app", size=4)
    trail = AuditTrail(url, clock)
    keys = IdempotencyKeys("of a test")
    runner = Runner(database, trail, clock, lambda: None, limiter_without_redis(clock), keys)  # pyright: ignore[reportArgumentType] - by a clock of any kind
    station = Station(url, database, runner, caller, clock)
    yield station
    await station.intake.close()
    await station.telling.close()
    await trail.close()
    await database.close()
