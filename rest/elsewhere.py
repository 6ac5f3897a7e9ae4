"""Every path that nothing else has: unversioned paths find their version here, the rest is refused here."""

import re
from collections.abc import Iterator, Sequence

from aiohttp import web
from aiohttp.web_urldispatcher import ResourceRoute, UrlMappingMatchInfo
from yarl import URL

from core.errors import HubError
from rest.endpoints import Endpoint, Parts
from rest.routes import Version

_VERSIONED = re.compile(r"/(v[0-9]+)(?:/|$)")


class Elsewhere(Endpoint):
    """What answers where no resource does: 400 for an unknown API-Version, 410 for one of `off`, 405 or 404."""

    def __init__(
        self, parts: Parts, versions: Sequence[Version], off: Sequence[Version], router: web.UrlDispatcher
    ) -> None:
        super().__init__(parts)
        self._versions = {version.name: version for version in versions}
        self._off = off
        self._router = router

    async def respond(self, request: web.Request, request_id: str, headers: dict[str, str]) -> web.StreamResponse:
        """Say what is wrong."""
        asked = _VERSIONED.match(request.rel_url.raw_path)
        name = asked[1] if asked else request.headers.get("API-Version")
        version = None if name is None else self._versions.get(name)
        if asked is None and name is not None and version is None:
            served = ", ".join(each.name for each in self._versions.values() if each not in self._off)
            raise HubError("UNSUPPORTED_VERSION", f"There is no such API version; there are {served}")
        said = {} if version is None else version.headers
        if version in self._off:
            raise HubError("VERSION_GONE", headers=said)
        allowed = await self._allowed(request)
        if allowed:
            raise HubError("METHOD_NOT_ALLOWED", headers={**said, "Allow": ", ".join(sorted(allowed))})
        raise HubError("RESOURCE_NOT_FOUND", "There is nothing at this path", headers=said)

    async def _allowed(self, request: web.Request) -> set[str]:
        """Return the methods that other doors have at this path."""
        allowed: set[str] = set()
        for resource in self._router.resources():
            if not isinstance(resource, ElsewhereResource):
                allowed |= (await resource.resolve(request))[1]
        return allowed


class ElsewhereResource(web.AbstractResource):
    """The last resource of a router: it matches whatever no other does, wherever in the router it stands.

    An unversioned path is resolved here as the same path of the version that API-Version names, or of `default`.
    """

    def __init__(self, endpoint: Elsewhere, versions: Sequence[str], default: str, router: web.UrlDispatcher) -> None:
        super().__init__()
        self._route = ResourceRoute("*", endpoint.answer, self, expect_handler=endpoint.expect)
        self._versions = versions
        self._default = default
        self._router = router

    async def resolve(self, request: web.Request) -> tuple[UrlMappingMatchInfo | None, set[str]]:
        """Return what answers: another version's resource, another resource that the router has later, or Elsewhere."""
        path = request.rel_url.raw_path
        version = request.headers.get("API-Version", self._default)
        if path.startswith("/") and not _VERSIONED.match(path) and version in self._versions:
            there = request.clone(rel_url=request.rel_url.with_path(f"/{version}{path}", encoded=True))
            match = await self._router.resolve(there)
            if match.route is not self._route:
                return match, set()
        for resource in self._router.resources():
            if resource is not self and (found := (await resource.resolve(request))[0]) is not None:
                return found, set()
        return UrlMappingMatchInfo({}, self._route), set()

    @property
    def canonical(self) -> str:
        """The router's index: asked after every longer path."""
        return "/"

    def raw_match(self, path: str) -> bool:
        """Tell whether `path` is how this was registered; never, so that nothing is added to it."""
        return False

    def url_for(self, **kwargs: str) -> URL:
        """Raise: it has no URL of its own."""
        raise RuntimeError("the resource of all other paths has no URL")

    def add_prefix(self, prefix: str) -> None:
        """Raise: it is the whole router's."""
        raise RuntimeError("the resource of all other paths cannot move below a prefix")

    def get_info(self) -> dict[str, str]:  # pyright: ignore[reportIncompatibleMethodOverride] - aiohttp's own TypedDict
        """Return what describes it."""
        return {"path": "/"}

    def __iter__(self) -> Iterator[ResourceRoute]:
        return iter((self._route,))

    def __len__(self) -> int:
        return 1
