"""`GET /healthz`: each part that the node stands on, asked now, with how long it took."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import orjson
from aiohttp import web
from redis.exceptions import RedisError

from core.clock import Clock
from core.deadline import within
from core.errors import HubError
from core.pressure import Pressure
from hub.overload.figures import shown

ASK_SECONDS = 2.0
# Anybody may ask, so the parts are asked once a second at most.
KEPT_SECONDS = 1.0
_DOWN = (HubError, OSError, TimeoutError, RedisError, asyncpg.PostgresError, asyncpg.InterfaceError)


class HealthDoor:
    """`checks` return, or raise what a part fails by. Needs no credential; says nothing but names, states and times.

    A node under `pressure` is no less healthy: taken out of a balancer, it would leave more to the others.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]], clock: Clock, pressure: Pressure) -> None:
        self._checks = checks
        self._pressure = pressure
        self._clock = clock
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._found: dict[str, dict[str, Any]] = {}

    def add_to(self, app: web.Application) -> None:
        """Add the path."""
        app.router.add_get("/healthz", self._answer)

    async def _answer(self, _request: web.Request) -> web.Response:
        async with self._asking:
            if self._clock.monotonic() - self._asked_at >= KEPT_SECONDS:
                found = await asyncio.gather(*(self._ask(check) for check in self._checks.values()))
                self._found = dict(zip(self._checks, found, strict=True))
                self._asked_at = self._clock.monotonic()
        is_up = all(part["status"] == "up" for part in self._found.values())
        told = {"status": "healthy" if is_up else "degraded", "parts": self._found, "pressure": shown(self._pressure)}
        body = orjson.dumps(told)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Type": "application/json"}
        return web.Response(status=200 if is_up else 503, body=body, headers=headers)

    async def _ask(self, check: Callable[[], Awaitable[object]]) -> dict[str, Any]:
        began = self._clock.monotonic()
        try:
            await within(self._clock, ASK_SECONDS, check())
            status = "up"
        except _DOWN:
            status = "down"
        return {"status": status, "latency_ms": round((self._clock.monotonic() - began) * 1000, 2)}
