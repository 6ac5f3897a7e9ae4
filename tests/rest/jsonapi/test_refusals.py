"""Every route's refusals are documents of JSON:API 1.1. One door for all: none of them gets as far as an operation."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from core.store.engines import EngineUrls
from rest.routes import Route, Version
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisations
from tests.rest.declared import operations
from tests.rest.jsonapi.asking import ABSENT, ALL, ROUTES, data_of, path_of
from tests.rest.jsonapi.documents import ask, errors
from tests.rest.server import RestServer, serve

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Door:
    """A served door, a key with all scopes, and one that may do next to nothing."""

    rest: RestServer
    key: str
    poor: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(urls: EngineUrls) -> AsyncIterator[Door]:
    """Serve it."""
    organisation = await Organisations(urls.database_url).create()
    async with serve(urls.database_url, ManualClock(), operations().values()) as rest:
        yield Door(rest, await organisation.key(), await organisation.key(["read:streams"]))


@pytest.mark.parametrize(("version", "route"), ROUTES, ids=lambda part: getattr(part, "operation", None))
async def test_every_refusal_is_a_document(door: Door, version: Version, route: Route):
    """Without a credential, without the scope, and with a parameter that it does not have."""
    path = path_of(version, route, ABSENT)
    data = data_of(route, ABSENT if "{id}" in route.path else None)
    assert errors(await ask(door.rest, route.method, path, None, data), 401) == [("AUTHENTICATION_REQUIRED", None)]
    if ALL[route.operation].scope is not None:
        assert errors(await ask(door.rest, route.method, path, door.poor, data), 403) == [("INSUFFICIENT_SCOPE", None)]
    unknown = await ask(door.rest, route.method, f"{path}?colour=red", door.key, data)
    assert errors(unknown, 400) == [("UNKNOWN_PARAMETER", {"parameter": "colour"})]
