"""Which route is at a path: for operations that come in no request of their own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from core.errors import HubError
from core.operations.operation import Registry
from rest.routes import Bound, Version

_VERSIONED = re.compile(r"/(v[0-9]+)(?=/|$)")
_PARAMETER = re.compile(r"\{(\w+)\}")
_ANY = "{}"
# Routes by method, and the names of what varies in their path.
_Methods = dict[str, tuple[Bound, str | None]]


@dataclass(frozen=True, slots=True)
class Place:
    """A route with the version that it was found in, and the parameters of the path."""

    version: Version
    bound: Bound
    params: Mapping[str, str]


class Places:
    """The routes of `versions` by path; those that are `off` are gone."""

    def __init__(self, versions: Sequence[Version], off: Sequence[Version], registry: Registry) -> None:
        self._versions = {version.name: version for version in versions}
        self._off = off
        self._paths: dict[str, _Methods] = {}
        for version in (each for each in versions if each not in off):
            for route in version.routes:
                named = _PARAMETER.search(route.path)
                pattern = f"{version.prefix}{_PARAMETER.sub(_ANY, route.path)}"
                methods = self._paths.setdefault(pattern, {})
                methods[route.method] = (Bound(route, registry[route.operation]), named[1] if named else None)

    def find(self, method: str, path: str, version: str) -> Place:
        """Return the route of a path without its query; `version` is meant where the path names none.

        Raises HubError as for a request of its own: UNSUPPORTED_VERSION, VERSION_GONE, RESOURCE_NOT_FOUND, METHOD_NOT_ALLOWED.
        """
        named = _VERSIONED.match(path)
        there = self._version(version) if named is None else self._versions.get(named[1])
        if there is None:
            raise _nothing_here()
        if there in self._off:
            raise HubError("VERSION_GONE", headers=there.headers)
        methods, varying = self._at(path if named else f"{there.prefix}{path}")
        found = methods.get(method)
        if found is None:
            raise HubError("METHOD_NOT_ALLOWED", headers={**there.headers, "Allow": ", ".join(sorted(methods))})
        bound, name = found
        return Place(there, bound, {} if name is None else {name: unquote(varying, errors="surrogateescape")})

    def _version(self, name: str) -> Version:
        found = self._versions.get(name)
        if found is None:
            known = ", ".join(self._versions)
            raise HubError("UNSUPPORTED_VERSION", f"There is no such API version; there are {known}")
        return found

    def _at(self, path: str) -> tuple[_Methods, str]:
        """Return the methods of a path, and what stands where it varies; a path varies in one part at most."""
        methods = self._paths.get(path)
        if methods is not None and _ANY not in path:
            return methods, ""
        parts = path.split("/")
        # /v2/<kind>/<id>, and what is behind it: no route varies before that, or far behind.
        for place in range(3, min(len(parts), 6)):
            pattern = "/".join((*parts[:place], _ANY, *parts[place + 1 :]))
            if parts[place] and pattern in self._paths:
                return self._paths[pattern], parts[place]
        raise _nothing_here()


def _nothing_here() -> HubError:
    return HubError("RESOURCE_NOT_FOUND", "There is no operation at this path")
