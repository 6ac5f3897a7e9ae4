"""The HTTP protocol with the hub's error object, also for what aiohttp refuses before any path is known."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong

from core.auth.failures import Failures
from core.auth.refusals import INVALID
from core.errors import HubError
from core.settings import Network
from rest.clients import client_address
from rest.errors import SAFE, ErrorAnswers
from rest.negotiation import spoken_of
from rest.requests import RequestIds

_CODES = {
    401: "AUTHENTICATION_REQUIRED",
    403: "FORBIDDEN",
    404: "RESOURCE_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    503: "SERVICE_UNAVAILABLE",
    504: "TIMEOUT",
}


class RestProtocol(web.RequestHandler):
    """One connection: aiohttp's, but for the look of its errors. `options` are those of web.RequestHandler.

    `failures` bounds how often credentials are wrong; `trusted` are the proxies that tell of addresses.

    While the node is not `ready`, an answer is the last of its connection, so that its client goes where it is served.
    """

    __slots__ = ("_answered", "_errors", "_failures", "_hub_log", "_ready", "_request_ids", "_trusted")

    def __init__(
        self,
        server: web.Server,
        errors: ErrorAnswers,
        request_ids: RequestIds,
        *,
        ready: Callable[[], bool],
        failures: Failures,
        trusted: Sequence[Network] = (),
        **options: Any,
    ) -> None:
        # Bodies are unpacked by who reads them (rest/requests.py).
        super().__init__(server, auto_decompress=False, **options)
        # The body of the request that was answered last: what is left of it is still to come.
        self._answered: StreamReader | None = None
        self._ready = ready
        self._failures = failures
        self._trusted = trusted
        self._errors = errors
        self._request_ids = request_ids
        self._hub_log = structlog.get_logger()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP with BAD_REQUEST, what another door's handler let through with INTERNAL_ERROR; then close.

        The parser's text quotes the request, so it is not repeated. Raises ConnectionError where an answer has begun.
        """
        request_id = self._request_ids.of(request)
        if status >= 500:
            self._hub_log.error("request_failed", request_id=request_id, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, an error cannot follow it")
        _let_go(exc)
        response = self._errors.response(_error_of(status, exc), request_id)
        response.force_close()
        return response

    def data_received(self, data: bytes) -> None:
        """Take what has come; who waits for the rest of a body hears of it where it is no HTTP.

        aiohttp tells only who is next, so that the one before would wait for as long as a body may take.
        """
        super().data_received(data)
        messages = self._messages
        if not messages or getattr(messages[-1][0], "exc", None) is None:
            return
        if self._current_request is not None or len(messages) > 1:
            self._tell_broken()
        else:
            # A request may have been taken up in this turn of the loop, and be current in the next.
            asyncio.get_running_loop().call_soon(self._tell_broken)

    def _tell_broken(self) -> None:
        messages, current = self._messages, self._current_request
        if not messages or getattr(messages[-1][0], "exc", None) is None:
            return
        # aiohttp may tell of one break several times.
        whole = [payload for message, payload in messages if getattr(message, "exc", None) is None]
        # Without a current request the connection may wait for the rest of a body that nobody wants: for 10 s, to no end.
        payload = whole[-1] if whole else self._answered if current is None else current.content
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(web.RequestPayloadError("what came is no HTTP"))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of what came after the first thing that was no HTTP."""
        for message, _ in self._messages:
            _let_go(getattr(message, "exc", None))
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send `resp`; one of aiohttp's own refusals, which carry plain text, is sent as the error object."""
        if isinstance(resp, web.HTTPError):
            error = HubError(_CODES.get(resp.status, "BAD_REQUEST" if resp.status < 500 else "INTERNAL_ERROR"))
            allow = {"Allow": resp.headers["Allow"]} if "Allow" in resp.headers else {}
            form = spoken_of(request.headers).errors
            resp = self._errors.response(error, self._request_ids.of(request), {**SAFE, **allow}, form)
        elif resp.status == 401 and not resp.prepared:
            resp = self._instead_of_failure(request, resp)
        self._answered = request.content
        if not self._ready() and not resp.prepared:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def _instead_of_failure(self, request: web.BaseRequest, resp: web.StreamResponse) -> web.StreamResponse:
        """Count a credential that was refused; over the bound of its address the answer is 429, whichever door has answered."""
        if INVALID not in resp.headers.get("WWW-Authenticate", ""):
            return resp  # none was sent
        retry_after = self._failures.count(client_address(request, self._trusted))
        if retry_after is None:
            return resp
        message = "Too many credentials from this address were not valid"
        error = HubError("RATE_LIMIT_EXCEEDED", message, retry_after=retry_after)
        request_id = resp.headers.get("X-Request-Id") or self._request_ids.of(request)
        return self._errors.response(error, request_id, form=spoken_of(request.headers).errors)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log, but for a body that its client has broken: that is answered, and no fault of the hub."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)


def _let_go(exc: BaseException | None) -> None:
    """Give back what the parser was given: its error holds the frames that hold the bytes, and is itself held by one of them.

    Such a ring waits for the collector, which counts objects and not their sizes: a hundred headers of 10 MB were a gigabyte.
    """
    if exc is not None:
        exc.__traceback__ = None


def _error_of(status: int, exc: BaseException | None) -> HubError:
    if isinstance(exc, LineTooLong):
        return HubError("BAD_REQUEST", "The request line or a header is too long")
    if status < 500:
        return HubError("BAD_REQUEST", "The request is not valid HTTP")
    return HubError("TIMEOUT" if status == 504 else "INTERNAL_ERROR")
