"""`POST /v2/batch`: a batch as JSON, its results as one object or as a line for each."""

import re
from collections.abc import AsyncIterator

import orjson
from aiohttp import web

from core.auth.authenticator import credential_of
from core.auth.caller import Caller
from core.errors import HubError
from core.operations.runner import check
from rest.asked import Answer
from rest.batch.batches import Batches, Begun
from rest.batch.operations import Batch
from rest.batch.reading import read_batch
from rest.endpoints import ADMISSION, Endpoint, Parts
from rest.forms import JSON
from rest.jsonapi.errors import JSONAPI
from rest.limits import tell_limit
from rest.patience import patience_of
from rest.requests import body_of, query_of
from rest.routes import Version

LINES = "application/x-ndjson"
_NEVER = re.compile(r"q=0(\.0*)?")
_ALLOW = "OPTIONS, POST"
# The batch's own answer says these for all of its results.
_OF_ALL = frozenset({"X-Request-Id", "X-Content-Type-Options", "Vary"})


class BatchEndpoint(Endpoint):
    """The batches of one version."""

    def __init__(self, parts: Parts, version: Version, batches: Batches) -> None:
        super().__init__(parts, version.headers)
        self.version = version
        self._batches = batches

    async def respond(self, request: web.Request, request_id: str, headers: dict[str, str]) -> web.StreamResponse:
        """Run the batch, and answer 200 with what each operation was answered."""
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={**headers, "Allow": _ALLOW})
        if request.method != "POST":
            raise HubError("METHOD_NOT_ALLOWED", headers={"Allow": _ALLOW})
        parts = self._parts
        credential = credential_of(request.headers.get("Authorization"))
        caller = parts.authenticator.recent(credential) or await parts.authenticator.authenticate(credential)
        # For the first operation, or for a batch that is none.
        admission = request[ADMISSION] = parts.runner.count(caller)
        await self.watch(request, "batch", caller, admission)
        check(await admission)
        query_of(request, frozenset())
        batch = await self.read(request, request_id, caller)
        begun = await self._batches.begin(batch, admission)
        # Results may have secrets.
        headers |= {"Cache-Control": "no-store", "Vary": "Accept"}
        tell_limit(begun.quota or await admission, headers)
        return await self.write(request, batch, begun, headers)

    async def read(self, request: web.Request, request_id: str, caller: Caller) -> Batch:
        """Return the batch that a request is; may raise HubError."""
        if request.content_type == JSONAPI:
            # It would be read as plain, which is not what its sender means.
            raise HubError(
                "UNSUPPORTED_MEDIA_TYPE", "A batch is application/json; JSON:API has POST /operations for it"
            )
        operations, is_atomic = read_batch(await body_of(request, self._parts.clock))
        keys = request.headers.getall("Idempotency-Key", ())
        return Batch(
            operations,
            caller,
            self.version.name,
            request_id,
            is_atomic=is_atomic,
            is_streamed=wants_lines(request.headers.get("Accept")),
            key=", ".join(keys) if keys else None,
            seconds=patience_of(request.headers.get("X-Request-Timeout")),
        )

    async def write(
        self, request: web.Request, batch: Batch, begun: Begun, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answer with the results."""
        headers["Content-Type"] = LINES if batch.is_streamed else JSON
        return await (_streamed(request, begun, headers) if batch.is_streamed else _whole(begun, headers))


def wants_lines(accept: str | None) -> bool:
    """Tell whether the client asks for a line for each result, by Accept (RFC 9110, section 12.5.1)."""
    for named in (accept or "").split(","):
        media_type, *parameters = (part.strip().lower() for part in named.split(";"))
        if media_type == LINES:
            return not any(_NEVER.fullmatch(each) for each in parameters)
    return False


async def _whole(begun: Begun, headers: dict[str, str]) -> web.StreamResponse:
    results = [_written(answer) async for answer in begun.results()]
    return web.Response(body=b'{"results":[%b]}' % b",".join(results), headers=headers)


async def _streamed(request: web.Request, begun: Begun, headers: dict[str, str]) -> web.StreamResponse:
    """Send each result in a line of its own. Where the client is gone, what was not begun is not done."""
    response = web.StreamResponse(headers=headers)
    try:
        async for line in _lines(begun):
            if not response.prepared:  # a refusal of all has a status of its own
                await response.prepare(request)
            await response.write(line)
    except ConnectionError:
        pass
    return response


async def _lines(begun: Begun) -> AsyncIterator[bytes]:
    async for answer in begun.results():
        yield _written(answer) + b"\n"


def _written(answer: Answer) -> bytes:
    headers = {name: value for name, value in answer.headers.items() if name not in _OF_ALL and "RateLimit" not in name}
    return b'{"status":%d,"headers":%b,"body":%b}' % (answer.status, orjson.dumps(headers), answer.body or b"null")
