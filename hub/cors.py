"""Pages of other origins that may use REST, by allow-list (HUB_ORIGINS): the Fetch standard's CORS protocol.

Credentials are in a header that a page sets itself, never in cookies, so none are allowed here.
"""

from collections.abc import Collection
from typing import Any

from aiohttp import web

KEPT_SECONDS = 7200
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
# What a page may read of an answer besides what the standard always lets it.
EXPOSED = (
    "API-Status, Deprecation, ETag, Idempotent-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, Server-Timing, "
    "Sunset, X-Debug, X-Event-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-RateLimit-Window, X-Request-Id"
)


class Cors:
    """The rule for every door of an application. `origins` as browsers write them, in small letters."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)

    def add_to(self, app: web.Application) -> None:
        """Answer every preflight, and mark every answer to a page of an allowed origin."""

        @web.middleware
        async def look(request: web.Request, handler: Any) -> web.StreamResponse:
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                return self._preflight(request)
            return await handler(request)

        app.middlewares.append(look)
        app.on_response_prepare.append(self._mark)

    def _preflight(self, request: web.Request) -> web.Response:
        answer = web.Response(
            status=204, headers={"Vary": "Access-Control-Request-Method, Access-Control-Request-Headers"}
        )
        if self._is_allowed(request):
            answer.headers["Access-Control-Allow-Methods"] = METHODS
            answer.headers["Access-Control-Max-Age"] = str(KEPT_SECONDS)
            wanted = request.headers.get("Access-Control-Request-Headers")
            if wanted is not None and wanted.isprintable():
                answer.headers["Access-Control-Allow-Headers"] = wanted
        return answer

    async def _mark(self, request: web.Request, response: web.StreamResponse) -> None:
        held = response.headers.get("Vary")
        if held != "*":
            response.headers["Vary"] = f"{held}, Origin" if held else "Origin"
        if self._is_allowed(request) and "Access-Control-Allow-Origin" not in response.headers:
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = EXPOSED

    def _is_allowed(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        return origin is not None and origin.lower() in self._origins
