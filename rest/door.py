"""The door: puts the versions' routes, the other paths, and the refusal of all that is neither into an aiohttp application."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from aiohttp import web

from core.auth.authenticator import Authenticator
from core.auth.failures import Failures
from core.clock import Clock
from core.errors import HubError
from core.operations.operation import Registry
from core.operations.runner import Runner
from core.pressure import Pressed
from core.settings import Network
from rest import catalogue
from rest.atomic.endpoint import PATH as OPERATIONS
from rest.atomic.endpoint import AtomicEndpoint
from rest.batch.batches import PATH as BATCH
from rest.batch.batches import Batches
from rest.batch.endpoint import BatchEndpoint
from rest.batch.places import Places
from rest.debug import Debugging
from rest.elsewhere import Elsewhere, ElsewhereResource
from rest.endpoints import Endpoint, Health, Parts, Resource
from rest.errors import ErrorAnswers
from rest.moving import importing
from rest.moving.importing import ImportEndpoint
from rest.moving.poured import POURED, PouredEndpoint
from rest.negotiation import spoken_of
from rest.openapi import door as openapi
from rest.protocol import RestProtocol
from rest.requests import RequestIds
from rest.routes import Bound, Route, Version
from rest.sse import ServerSentEvents
from rest.v1 import V1
from rest.v2 import V2
from rest.v3 import V3
from rest.versions import Versions

VERSIONS: Sequence[Version] = (V1, V2, V3)
DEFAULT_VERSION = V2


class RestDoor:
    """REST over the registered operations. `ready` says whether this node takes traffic; versions that are `off` are gone.

    `debug`: every request is shown in detail. `trusted` are the proxies that tell where requests come from.

    Raises KeyError where a version's route names an operation that the registry lacks.
    """

    def __init__(
        self,
        runner: Runner,
        registry: Registry,
        authenticator: Authenticator,
        clock: Clock,
        ready: Callable[[], bool],
        off: Sequence[Version] = (),
        *,
        debug: bool = False,
        trusted: Sequence[Network] = (),
        pressure: Pressed | None = None,
    ) -> None:
        self._errors = ErrorAnswers(clock)
        self._request_ids = RequestIds()
        debugging = Debugging(authenticator, always=debug, pressure=pressure)
        self._parts = Parts(
            runner,
            authenticator,
            clock,
            self._errors,
            self._request_ids,
            registry,
            debugging,
            ServerSentEvents(clock, ready, pressure),
        )
        self._off = off
        self._failures = Failures(clock)
        self._trusted = trusted
        self._ready = ready
        versions = [version for version in VERSIONS if version not in off]
        self._resources = [
            (f"{version.prefix}{path}", Resource(self._parts, version, bound))
            for version in versions
            for path, bound in _by_path(version.routes, registry)
        ]
        self._others: list[tuple[str, Endpoint]] = [
            (catalogue.PATH, catalogue.Errors(self._parts)),
            (openapi.PATH, openapi.OpenApi(self._parts, registry, versions)),
            ("/livez", Health(self._parts, "live", lambda: True)),
            ("/readyz", Health(self._parts, "ready", ready)),
            *self._batches(versions, Places(VERSIONS, off, registry), clock),
            *self._moves(versions, registry),
            ("/versions", Versions(self._parts, VERSIONS, off, DEFAULT_VERSION)),
        ]

    def _batches(
        self, versions: Iterable[Version], places: Places, clock: Clock
    ) -> Iterator[tuple[str, BatchEndpoint]]:
        batches = Batches(self._parts.runner, places, self._errors, clock)
        for version in versions:
            if version.has_batch:
                yield f"{version.prefix}{BATCH}", BatchEndpoint(self._parts, version, batches)
                yield f"{version.prefix}{OPERATIONS}", AtomicEndpoint(self._parts, version, batches)

    def _moves(self, versions: Iterable[Version], registry: Registry) -> Iterator[tuple[str, Endpoint]]:
        for version in versions:
            if version.moves_knowledge:
                for path, name, query in POURED:
                    yield f"{version.prefix}{path}", PouredEndpoint(self._parts, version, registry[name], query)
                yield f"{version.prefix}{importing.PATH}", ImportEndpoint(self._parts, version)

    def add_to(self, app: web.Application) -> None:
        """Put all of it into `app`; other doors' routes may be put there before or after."""
        for path, endpoint in (*self._resources, *self._others):
            _add(app, path, endpoint)
        names = [version.name for version in VERSIONS if version not in self._off]
        elsewhere = Elsewhere(self._parts, VERSIONS, self._off, app.router)
        app.router.register_resource(ElsewhereResource(elsewhere, names, DEFAULT_VERSION.name, app.router))

    def error_response(self, error: HubError, request: web.BaseRequest) -> web.Response:
        """Return the answer that every door gives for `error`, in the form that `request` asks for."""
        return self._errors.response(error, self.request_id_of(request), form=spoken_of(request.headers).errors)

    def protocol(self, server: web.Server, **options: Any) -> RestProtocol:
        """Return the protocol of a new connection; `server` is the AppRunner's, `options` are web.RequestHandler's.

        Without it (`loop.create_server(lambda: door.protocol(runner.server, loop=loop))` in place of a TCPSite) all works, but
        what is no HTTP gets aiohttp's plain text instead of the error object, and packed bodies are unpacked before they are asked
        for, so that they are refused here.
        """
        return RestProtocol(
            server,
            self._errors,
            self._request_ids,
            ready=self._ready,
            failures=self._failures,
            trusted=self._trusted,
            **options,
        )

    def request_id_of(self, request: web.BaseRequest) -> str:
        """Return the client's request id, or a new one."""
        return self._request_ids.of(request)


def _by_path(routes: Iterable[Route], registry: Registry) -> Iterator[tuple[str, list[Bound]]]:
    paths: dict[str, list[Bound]] = {}
    for route in routes:
        paths.setdefault(route.path, []).append(Bound(route, registry[route.operation]))
    return iter(paths.items())


def _add(app: web.Application, path: str, endpoint: Endpoint) -> None:
    # A channel's name may have a slash, written as it is or as %2F.
    path = path.replace("{channel}", "{channel:.+}")
    app.router.add_resource(path).add_route("*", endpoint.answer, expect_handler=endpoint.expect)
