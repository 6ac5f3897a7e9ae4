"""`GET` of what is too long to be held: sent while it is read. A base with its documents; the content of one."""

from aiohttp import web

from core.auth.authenticator import credential_of
from core.errors import HubError
from core.operations.operation import Operation
from core.operations.runner import check
from core.presence import watch_over
from rest.endpoints import ADMISSION, Endpoint, Parts
from rest.limits import tell_limit
from rest.moving.pouring import pour
from rest.patience import patience_of
from rest.requests import query_of
from rest.routes import Version

# Paths below a version's prefix, with the operation that gives a Poured, and what its query may have.
POURED = (
    ("/knowledge/{id}/export", "knowledge.export", frozenset({"format"})),
    ("/knowledge/{id}/documents/{document}/content", "documents.content", frozenset({"version"})),
)
_ALLOW = "GET, HEAD, OPTIONS"


class PouredEndpoint(Endpoint):
    """One such path in one version: the names in it and its query are the operation's input."""

    def __init__(self, parts: Parts, version: Version, operation: Operation, query: frozenset[str]) -> None:
        super().__init__(parts, version.headers)
        self._operation = operation
        self._query = query

    async def respond(self, request: web.Request, request_id: str, headers: dict[str, str]) -> web.StreamResponse:
        """Run the operation, then send what it gives."""
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={**headers, "Allow": _ALLOW})
        if request.method not in ("GET", "HEAD"):
            raise HubError("METHOD_NOT_ALLOWED", headers={"Allow": _ALLOW})
        transport = request.transport
        watch_over(lambda: transport is None or transport.is_closing())
        parts = self._parts
        credential = credential_of(request.headers.get("Authorization"))
        caller = parts.authenticator.recent(credential) or await parts.authenticator.authenticate(credential)
        admission = request[ADMISSION] = parts.runner.admit(self._operation, caller)
        await self.watch(request, self._operation.name, caller, admission)
        check(await admission)
        outcome = await parts.runner.run(
            self._operation,
            caller,
            {**query_of(request, self._query), **request.match_info},
            request_id=request_id,
            admission=admission,
            deadline_seconds=patience_of(request.headers.get("X-Request-Timeout")),
        )
        tell_limit(await admission, headers)
        return await pour(request, outcome.result, headers)
