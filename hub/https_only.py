"""HTTPS only: where the hub has a certificate or stands behind proxies that have one, plain HTTP is redirected or refused.

Which it is, the connection tells; X-Forwarded-Proto is believed from trusted proxies and from nobody else. What runs on the same
machine may stay plain. Probes may be plain too: they carry nothing.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from functools import lru_cache
from typing import Any

from aiohttp import web

from core.addresses import parse_address
from core.errors import HubError
from core.settings import Network

# A year, in which a browser that was here once asks by https only (RFC 6797, section 6.1).
HSTS = "max-age=31536000"
PROBES = frozenset({"/livez", "/readyz"})
_PAGES = ("/web/", "/docs/")
# What a Host field may say (RFC 9110, section 7.2), less what no name of a server has: it goes into an answer.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpsOnly:
    """The rule for every door of an application; `render` answers a refusal, `public_url` is where pages are redirected to."""

    def __init__(
        self,
        trusted: Collection[Network],
        render: Callable[[web.Request, HubError], web.StreamResponse],
        public_url: str | None = None,
    ) -> None:
        self._render = render
        self._public_url = public_url if public_url and public_url.startswith("https://") else None
        self._trusted = tuple(trusted)

    def add_to(self, app: web.Application) -> None:
        """Look at every request before any handler, and mark every answer that goes over https."""

        @web.middleware
        async def look(request: web.Request, handler: Any) -> web.StreamResponse:
            if self.is_plain(request) and request.path not in PROBES:
                return self._instead(request)
            return await handler(request)

        app.middlewares.append(look)
        app.on_response_prepare.append(self._mark)

    def is_plain(self, request: web.BaseRequest) -> bool:
        """Tell whether a request came in plain from somewhere that must not."""
        if self._is_https(request):
            return False
        match self._peer(request):
            case "here":
                return False
            case "proxy here":  # or somebody else on this machine, who comes past it
                return "X-Forwarded-Proto" in request.headers
            case _:  # a proxy that does not say what its client spoke may hand on what came in plain
                return True

    def _is_https(self, request: web.BaseRequest) -> bool:
        transport = request.transport
        if transport is not None and transport.get_extra_info("sslcontext") is not None:
            return True
        if self._peer(request) not in ("proxy", "proxy here"):
            return False
        # The last one is what the proxy itself saw or vouches for; those before it may be the client's.
        said = request.headers.getall("X-Forwarded-Proto", ())
        return bool(said) and said[-1].rpartition(",")[2].strip().lower() in ("https", "wss")

    def _peer(self, request: web.BaseRequest) -> str:
        transport = request.transport
        peer = None if transport is None else transport.get_extra_info("peername")
        return _kind_of(peer[0], self._trusted) if isinstance(peer, tuple) and peer else "here"

    def _instead(self, request: web.Request) -> web.StreamResponse:
        is_page = request.path in ("/", "/docs") or request.path.startswith(_PAGES)
        if not is_page or request.method not in ("GET", "HEAD"):
            return self._render(request, HubError("HTTPS_REQUIRED"))
        base = self._public_url or _by_https(request)
        if base is None:
            return self._render(request, HubError("BAD_REQUEST", "The Host header names no host"))
        # Never what stands before the path in a request line (RFC 9112, section 3.2.2): it may name somebody else.
        return web.Response(status=308, headers={"Location": f"{base.rstrip('/')}{request.rel_url.raw_path_qs}"})

    async def _mark(self, request: web.Request, response: web.StreamResponse) -> None:
        # Over plain HTTP it would mean nothing (RFC 6797, section 7.2).
        if self._is_https(request):
            response.headers["Strict-Transport-Security"] = HSTS


def _by_https(request: web.Request) -> str | None:
    """Return where the client's own host is by https; None where it names none, or several."""
    said = request.headers.getall("Host", ())
    return f"https://{said[0]}" if len(said) == 1 and _HOST.fullmatch(said[0]) else None


@lru_cache(maxsize=4096)
def _kind_of(address: str, trusted: tuple[Network, ...]) -> str:
    """Tell where an address is: `here` (this machine), `proxy here`, `proxy`, or `elsewhere`."""
    parsed = parse_address(address)
    if parsed is None:
        return "elsewhere"
    if any(parsed in network for network in trusted):
        return "proxy here" if parsed.is_loopback else "proxy"
    return "here" if parsed.is_loopback else "elsewhere"
