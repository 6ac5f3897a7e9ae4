"""Calls out to the same places again and again, over connections that are kept, under the rules of core/outbound.py.

An origin's name is looked up and its addresses are judged when it is first called, and again after JUDGED_SECONDS. A connection
goes to an address that was judged, for as long as it lives: a name that answers differently later moves nothing of what is open,
and what it answers then is judged before anything goes there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from core.deadline import end_tasks
from core.outbound import Address, Call, Outbound, OutboundFailed, OutboundResponse, target_of

# How long a name's addresses are taken for good: a server that moves is found again within this time.
JUDGED_SECONDS = 30.0
# An origin that was not called for so long is forgotten, and its connections are closed.
IDLE_SECONDS = 90.0
# What a server that has closed a kept connection makes of a call on it.
_STALE = (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError)


@dataclass(eq=False, slots=True)
class _Origin:
    """Sessions to the judged addresses of one origin; `calls` are under way."""

    addresses: frozenset[Address]
    session: aiohttp.ClientSession
    judged_at: float
    used_at: float
    calls: int = 0


@dataclass(eq=False, slots=True)
class _Trace:
    """What is found out about a call: whether its connection had served another before."""

    was_kept: bool = field(default=False)


class OutboundPool:
    """Makes calls as Outbound does. What it sends may arrive twice: a call that a kept connection lost is sent once more."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._clock = outbound.clock
        self._origins: dict[URL, _Origin] = {}
        self._judging: dict[URL, asyncio.Task[_Origin]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._swept_at = self._clock.monotonic()
        self._traces = [_told_of_kept_ones()]

    @property
    def origins(self) -> int:
        """How many origins have connections, or had until a moment ago."""
        return len(self._origins)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float,
        max_bytes: int,
        may_cut: bool = False,
    ) -> OutboundResponse:
        """Call `url`, as Outbound.request says."""
        target = target_of(url)
        call = Call(method, target, headers or {}, body, max_bytes, may_cut)
        return await self._outbound.within(timeout, target, self._call(call))

    async def close(self) -> None:
        """Close every connection."""
        await end_tasks(list(self._judging.values()))
        for origin in self._origins.values():
            self._retire(origin)
        self._origins.clear()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _call(self, call: Call) -> OutboundResponse:
        self._sweep()
        origin = await self._origin(call.target)
        origin.calls += 1
        trace = _Trace()
        try:
            return await call.by(origin.session, trace)
        except OutboundFailed as failure:
            if not (trace.was_kept and isinstance(failure.__cause__, _STALE)):
                raise
        finally:
            origin.calls -= 1
            origin.used_at = self._clock.monotonic()
            if self._origins.get(call.target.origin()) is not origin:
                self._retire(origin)
        # The server had closed it, most likely before this came: others that are kept may be as dead.
        async with self._outbound.session(call.target, list(origin.addresses), keeps=False) as session:
            return await call.by(session)

    async def _origin(self, target: URL) -> _Origin:
        """Return the target's origin with addresses that are judged; who come together wait for one look-up."""
        name, now = target.origin(), self._clock.monotonic()
        known = self._origins.get(name)
        if known is not None and now - known.judged_at < JUDGED_SECONDS:
            return known
        judging = self._judging.get(name)
        if judging is None:
            judging = self._judging[name] = asyncio.create_task(self._judged(name))
            judging.add_done_callback(lambda task: self._ended(name, task))
        # One who gives up leaves the others what they wait for.
        return await asyncio.shield(judging)

    async def _judged(self, name: URL) -> _Origin:
        addresses: Sequence[Address] = await self._outbound.judge(name)
        now, found = self._clock.monotonic(), frozenset(addresses)
        known = self._origins.get(name)
        if known is not None and known.addresses == found:
            known.judged_at = known.used_at = now
            return known
        made = _Origin(found, self._outbound.session(name, addresses, keeps=True, traces=self._traces), now, now)
        self._origins[name] = made
        if known is not None:
            self._retire(known)
        return made

    def _ended(self, name: URL, task: "asyncio.Task[_Origin]") -> None:
        del self._judging[name]
        if task.cancelled() or task.exception() is None:
            return
        # What may not be called any longer keeps no connection either.
        known = self._origins.pop(name, None)
        if known is not None:
            self._retire(known)

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        if now - self._swept_at < IDLE_SECONDS / 2:
            return
        self._swept_at = now
        idle = [name for name, each in self._origins.items() if not each.calls and now - each.used_at >= IDLE_SECONDS]
        for name in idle:
            self._retire(self._origins.pop(name))

    def _retire(self, origin: _Origin) -> None:
        """Close what is no longer found, once nothing is under way on it."""
        if origin.calls == 0 and not origin.session.closed:
            closing = asyncio.create_task(origin.session.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _told_of_kept_ones() -> aiohttp.TraceConfig:
    async def kept(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        trace: _Trace = context.trace_request_ctx
        trace.was_kept = True

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(kept)
    return config
