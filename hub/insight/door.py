"""The door of insight: `/metrics`, and `GET /v2/connections/{id}/trace`."""

import ipaddress
from collections.abc import AsyncGenerator, Awaitable, Callable

from aiohttp import web

from core.auth.authenticator import credential_of
from core.auth.caller import ADMIN_SCOPE, Caller
from core.clock import Clock, rfc3339
from core.errors import Detail, HubError
from core.ids import parse_id
from core.operations.audit import Access, AuditTrail
from hub.insight.metrics import Metrics
from hub.insight.tracing import Line, Tracing, written
from hub.stream.parts import Authenticates

TRACE_SECONDS, MOST_TRACE_SECONDS = 300, 3600
# The credential of a trace is looked at again this often.
RECHECK_SECONDS = 1.0
# What a proxy adds: its own address is then no sign that the caller is on this machine.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")

Trace = AsyncGenerator[list[Line]]
Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class InsightDoor:
    """Answers both paths; `render` turns a refusal into an answer, `request_id_of` names a request."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        tracing: Tracing,
        authenticator: Authenticates,
        trail: AuditTrail,
        clock: Clock,
        render: Callable[[web.Request, HubError], web.Response],
        request_id_of: Callable[[web.Request], str],
    ) -> None:
        self._metrics = metrics
        self._tracing = tracing
        self._authenticator = authenticator
        self._trail = trail
        self._clock = clock
        self._render = render
        self._request_id_of = request_id_of

    def add_to(self, app: web.Application) -> None:
        """Add the paths."""
        app.router.add_route("*", "/metrics", self._guarded(self._show_metrics))
        app.router.add_route("*", "/v2/connections/{id}/trace", self._guarded(self._show_trace))

    def _guarded(self, respond: Respond) -> Respond:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                if request.method not in ("GET", "HEAD"):
                    raise HubError("METHOD_NOT_ALLOWED", headers={"Allow": "GET, HEAD"})
                return await respond(request)
            except HubError as refused:
                return self._render(request, refused)

        return answer

    async def _show_metrics(self, request: web.Request) -> web.Response:
        if not is_local(request):
            await self._administrator(request)
        body, content_type = await self._metrics.rendered(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    async def _show_trace(self, request: web.Request) -> web.StreamResponse:
        caller = await self._administrator(request)
        id = parse_id(request.match_info["id"])
        if id is None:
            raise HubError("RESOURCE_NOT_FOUND", "There is no open stream with this id")
        seconds = _seconds_of(request)
        request_id = self._request_id_of(request)
        traces = self._tracing.follow(caller.org_id, str(id), seconds)
        outcome = "ok"
        try:
            first = await anext(traces)  # before the answer begins: a refusal is still one
            return await self._stream(request, request_id, written(first), traces)
        except HubError as refused:
            outcome = refused.code
            raise
        finally:
            await traces.aclose()
            # Who reads what others say leaves a note.
            self._trail.note(
                Access(
                    caller.org_id,
                    self._clock.now(),
                    caller.subject,
                    "connections.trace",
                    f"connections/{id}",
                    request_id,
                    outcome,
                )
            )

    async def _stream(self, request: web.Request, request_id: str, first: bytes, traces: Trace) -> web.StreamResponse:
        headers = {
            "Content-Type": "application/x-ndjson",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Request-Id": request_id,
            "X-Accel-Buffering": "no",  # nginx shows lines as they come
        }
        response = web.StreamResponse(headers=headers)
        checked_at = self._clock.monotonic()
        try:
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            await response.write(first)
            async for lines in traces:
                if request.transport is None or request.transport.is_closing():
                    break
                if lines:
                    await response.write(written(lines))
                if self._clock.monotonic() - checked_at >= RECHECK_SECONDS:
                    checked_at = self._clock.monotonic()
                    await self._administrator(request)
            await response.write_eof()
        except HubError:
            await response.write(written([{"time": rfc3339(self._clock.now()), "ended": "credential"}]))
            await response.write_eof()
        except ConnectionError:
            pass  # the reader left
        return response

    async def _administrator(self, request: web.Request) -> Caller:
        caller = await self._authenticator.authenticate(credential_of(request.headers.get("Authorization")))
        if ADMIN_SCOPE not in caller.scopes:
            raise HubError("INSUFFICIENT_SCOPE", f"This needs the scope {ADMIN_SCOPE}")
        return caller


def is_local(request: web.BaseRequest) -> bool:
    """Tell whether a request comes from this machine itself: not by a proxy on it, nor by a page that was given its name."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    return _is_loopback(request.remote) and _is_loopback(_host_of(request.host))


def _host_of(host: str) -> str:
    """Return the name or address of a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_loopback(address: str | None) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def _seconds_of(request: web.Request) -> int:
    unknown = set(request.query) - {"seconds"}
    if unknown:
        raise HubError("UNKNOWN_PARAMETER", "Unknown query parameter; known here: seconds")
    text = request.query.get("seconds", str(TRACE_SECONDS))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MOST_TRACE_SECONDS):
        detail = Detail("seconds", "VALUE_OUT_OF_RANGE", f"It is from 1 to {MOST_TRACE_SECONDS}")
        raise HubError("VALIDATION_ERROR", details=[detail])
    return int(text)
