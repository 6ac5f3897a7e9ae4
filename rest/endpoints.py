"""Endpoints: what answers at a path. All share one boundary, which turns whatever goes wrong into the error object.

Endpoint            names the request, answers, catches
  Resource          runs the operations of one path of one version
  Health            /livez, /readyz
  Elsewhere         (rest/elsewhere.py) every path that nothing else has
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import structlog
from aiohttp import web

from core.auth.authenticator import Authenticator, credential_of
from core.auth.caller import Caller
from core.clock import Clock
from core.errors import HubError
from core.operations.operation import Registry
from core.operations.run import Admission
from core.operations.runner import Runner, check
from core.presence import watch_over
from core.watch import WATCHED, Watch
from rest.asked import NO_QUERY, Asked
from rest.codings import codings_of, pack
from rest.debug import HEADER as DEBUG
from rest.debug import Debugging
from rest.errors import SAFE, ErrorAnswers, response_of
from rest.forms import JSON, PLAIN
from rest.jsonapi.errors import JsonApiErrors
from rest.jsonapi.speaker import Speaker
from rest.negotiation import spoken_of
from rest.requests import RequestIds, body_of, is_patch, patch_of, query_of
from rest.routes import Bound, Version
from rest.sse import ServerSentEvents
from rest.waiting import Waiting

# Under this a request keeps what the limit says to it.
ADMISSION: web.RequestKey[Admission] = web.RequestKey("admission", asyncio.Future)
# And under this the form of its answer, where that is not the plain one.
FORM: web.RequestKey[JsonApiErrors] = web.RequestKey("form", JsonApiErrors)


@dataclass(frozen=True, slots=True)
class Parts:
    """What every endpoint stands on."""

    runner: Runner
    authenticator: Authenticator
    clock: Clock
    errors: ErrorAnswers
    request_ids: RequestIds
    registry: Registry
    debugging: Debugging
    events: ServerSentEvents


_NOTHING = nullcontext()


class Endpoint:
    """Answers at one path; subclasses say how by `respond`, and may raise."""

    def __init__(self, parts: Parts, headers: Mapping[str, str] = NO_QUERY) -> None:
        self._parts = parts
        self._headers: Mapping[str, str] = {**SAFE, **headers}
        self._log = structlog.get_logger()

    async def respond(self, request: web.Request, request_id: str, headers: dict[str, str]) -> web.StreamResponse:
        """Return the answer; `headers` has what every answer has."""
        raise NotImplementedError

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer `request`; never raises but when cancelled."""
        request_id = self._parts.request_ids.of(request)
        if self._parts.debugging.always or DEBUG in request.headers:
            return await self._answer_watched(request, request_id)
        return await self._answer(request, request_id)

    async def _answer_watched(self, request: web.Request, request_id: str) -> web.StreamResponse:
        watch = Watch(self._parts.clock)
        WATCHED.set(watch)  # of this request's task only, which ends with it
        response = await self._answer(request, request_id)
        self._parts.debugging.tell(request, response, watch, request_id)
        return response

    async def _answer(self, request: web.Request, request_id: str) -> web.StreamResponse:
        try:
            return await self.respond(request, request_id, {**self._headers, "X-Request-Id": request_id})
        except HubError as error:
            return self._refusal(request, error, request_id)
        except TimeoutError:
            return self._refusal(request, HubError("TIMEOUT"), request_id)
        except Exception:  # noqa: BLE001 - the one boundary: a bug must not show its text to the caller
            self._log.exception("request_failed", request_id=request_id, method=request.method, path=request.path)
            return self._refusal(request, HubError("INTERNAL_ERROR"), request_id)

    async def watch(self, request: web.Request, operation: str, caller: Caller, admission: Admission) -> None:
        """In debug mode note who does what, once that is known; raises HubError FORBIDDEN, see Debugging."""
        watch = WATCHED.get()
        if watch is None:
            return
        watch.add("auth", watch.began)
        asked = self._parts.clock.monotonic()
        admission.add_done_callback(lambda _: watch.add("limit", asked))
        await self._parts.debugging.allow(request, watch, caller, operation)

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Take `Expect: 100-continue`, which is answered when the body is wanted (RFC 9110, section 10.1.1)."""
        if request.headers["Expect"].strip().lower() == "100-continue":
            return None
        error = HubError("BAD_REQUEST", "The Expect header can only ask for 100-continue")
        return self._refusal(request, error, self._parts.request_ids.of(request))

    def _refusal(self, request: web.Request, error: HubError, request_id: str) -> web.Response:
        admission = request.get(ADMISSION)
        if error.quota is None and admission is not None and admission.done() and not admission.cancelled():
            error.quota = admission.result()
        form = request.get(FORM) or spoken_of(request.headers).errors
        response = self._parts.errors.response(error, request_id, self._headers, form)
        if request.content.exception() or (error.status in (413, 504) and not request.content.is_eof()):
            response.force_close()  # the rest of the body is not worth its reading, or cannot be read
        return response


class Resource(Endpoint):
    """The methods of one path in one version."""

    def __init__(self, parts: Parts, version: Version, bound: Iterable[Bound]) -> None:
        super().__init__(parts, version.headers)
        self._prefix = version.prefix
        self._methods = {item.route.method: item for item in bound}
        self._speakers = {method: Speaker(item, version, parts.registry) for method, item in self._methods.items()}
        if "GET" in self._methods:
            self._methods["HEAD"] = self._methods["GET"]  # aiohttp sends no body to HEAD
        self._allow = ", ".join(sorted((*self._methods, "OPTIONS")))

    async def respond(self, request: web.Request, request_id: str, headers: dict[str, str]) -> web.StreamResponse:
        """Run the method's operation."""
        transport = request.transport
        watch_over(lambda: transport is None or transport.is_closing())
        bound = self._methods.get(request.method)
        if bound is None:
            return self._no_operation(request, headers)
        authenticator = self._parts.authenticator
        credential = credential_of(request.headers.get("Authorization"))
        caller = authenticator.recent(credential) or await authenticator.authenticate(credential)
        admission = request[ADMISSION] = bound.admit(self._parts.runner, caller, request.headers)
        try:
            if WATCHED.get() is not None:
                await self.watch(request, bound.operation.name, caller, admission)
            codings = codings_of(request.headers)
            # A large body is held until it is written.
            with _NOTHING if bound.route.reads is None else bound.route.reads.room(request):
                asked = await self._asked(bound, request, request_id, admission, caller)
                if bound.route.goes_on is not None:
                    asked.goes_on = Waiting(
                        self._parts.runner,
                        self._parts.registry,
                        caller,
                        request.headers,
                        request_id,
                        admission,
                        bound.route.goes_on,
                    )
                answer = await bound.carry_out(self._parts.runner, caller, asked, headers, admission)
        except HubError:
            # Over the limit is over it, whatever else is wrong; and else the refusal tells the limit too.
            check(await admission)
            raise
        if answer.stream is not None:
            return await self._parts.events.send(request, answer, answer.stream, request_id)
        if codings is not None:
            await pack(answer, codings)
        return response_of(answer)

    async def _asked(
        self, bound: Bound, request: web.Request, request_id: str, admission: Admission, caller: Caller
    ) -> Asked:
        spoken = spoken_of(request.headers)
        spoken.check()
        asked = Asked(
            request.method,
            request.path,
            self._prefix,
            request.match_info,
            request.headers,
            request_id,
            PLAIN,
        )
        speaker = self._speakers[bound.route.method]
        if spoken.is_jsonapi:
            request[FORM] = asked.form = form = speaker.form(reads_documents=spoken.sends_jsonapi)
            asked.given = query_of(request, speaker.query)
            speaker.read_query(asked, form, self._parts.runner, caller)
        else:
            asked.query = query_of(request, bound.route.query)
        if bound.route.takes_body and (await admission).retry_after is None:  # else the body is not worth its reading
            clock, reads = self._parts.clock, bound.route.reads
            # JSON:API changes a resource by a resource object.
            if bound.route.takes_patch and not spoken.is_jsonapi and is_patch(request.headers.get("Content-Type")):
                asked.patch = await patch_of(request, clock)
                return asked
            asked.body = sent = await (body_of(request, clock) if reads is None else reads.read(request, clock))
            if spoken.is_jsonapi or spoken.sends_jsonapi:
                asked.body = speaker.read_body(asked, sent, is_document=spoken.sends_jsonapi)
        return asked

    def _no_operation(self, request: web.Request, headers: dict[str, str]) -> web.Response:
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={**headers, "Allow": self._allow})
        raise HubError("METHOD_NOT_ALLOWED", headers={"Allow": self._allow})


class Health(Endpoint):
    """Tells whether something holds; for probes, so without authentication."""

    def __init__(self, parts: Parts, status: str, holds: Callable[[], bool]) -> None:
        super().__init__(parts)
        self._status = status
        self._holds = holds

    async def respond(self, request: web.Request, request_id: str, headers: dict[str, str]) -> web.StreamResponse:
        """Answer 200 while it holds, else 503."""
        if request.method not in ("GET", "HEAD"):
            raise HubError("METHOD_NOT_ALLOWED", headers={"Allow": "GET, HEAD"})
        if not self._holds():
            raise HubError("SERVICE_UNAVAILABLE", retry_after=1)
        headers["Cache-Control"] = "no-store"
        headers["Content-Type"] = JSON
        return web.Response(body=b'{"status":"%b"}' % self._status.encode(), headers=headers)
