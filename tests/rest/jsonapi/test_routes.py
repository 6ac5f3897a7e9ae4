"""Every route speaks JSON:API 1.1: what it answers is a document of the specification."""

from collections.abc import Mapping
from typing import Any

import pytest

from rest.routes import Route, Version
from rest.v1 import V1
from rest.v2 import V2
from rest.v3 import V3
from tests.harness.organisations import Organisation
from tests.rest.jsonapi.asking import ABSENT, ALL, data_of, kind_of, path_of
from tests.rest.jsonapi.documents import MEDIA, ask, document, errors
from tests.rest.server import Answer, RestServer

_ORDER = ("POST", "GET", "PUT", "PATCH", "DELETE")
_STATUS = {"POST": 201, "GET": 200, "PUT": 200, "PATCH": 200}
# The door alone has no streams, no relay, and no job that anything has made.
_NONE_HERE = frozenset({"connections", "events", "event-types", "jobs"})
# The agent stands in its body, where no example knows it; what waits for nobody cannot be answered, and a
# branch that was applied not be changed; and the twin of the example has no source.
_IN_ITS_BODY = frozenset({"agents.execute_input", "branches.apply", "executions.answer", "sync.run"})
# The door alone has no rooms: tests/hub/stream/test_chats.py.
_IN_ROOMS = frozenset({"chats.edit", "chats.delete"})
# Named by who makes them.
_NAMED = {"namespaces": "chat", "chats": "lobby"}
# Nobody does what is asked for here, so there is nothing to draw.
_NOT_DONE = frozenset({"simulations.plot"})
# What a route cannot do without, beside its path.
_QUERIES = {"twins.paths": "?filter[to]={id}"}


def _status(route: Route) -> int:
    """Return what a route answers with: to ask something of a thing makes none, but for a replay."""
    if route.operation in ("documents.create", "sync.run") or route.goes_on == "begun":
        return 202
    if route.operation in ("branches.create", "sessions.create"):
        return 201
    if route.operation == "telemetry.append_many":
        return 200
    is_inside = "{id}" in route.path and not route.path.endswith("/replay")
    is_asked = route.method == "POST" and (is_inside or ALL[route.operation].transaction == "read")
    return 200 if is_asked else _STATUS[route.method]


async def _send(rest: RestServer, version: Version, route: Route, key: str, ids: Mapping[str, str]) -> Answer:
    id = ids.get(route.path.split("/")[1], ABSENT)
    path = f"{path_of(version, route, id)}{_QUERIES.get(route.operation, '').format(id=id)}"
    named = id if "{id}" in route.path else None
    return await ask(rest, route.method, path, key, data_of(route, named, ids.get("twins", ABSENT)))


@pytest.mark.parametrize("version", [V1, V2, V3], ids=lambda version: version.name)
async def test_every_answer_is_a_document(rest: RestServer, organisation: Organisation, version: Version):
    """In the order in which things are made, read, changed and removed; also where there is nothing."""
    key = await organisation.key()
    ids: dict[str, str] = {**_NAMED}
    routes = sorted(version.routes, key=lambda route: (route.path.count("/"), _ORDER.index(route.method)))
    for route in (route for method in _ORDER for route in routes if route.method == method):
        if route.operation in _IN_ITS_BODY | _IN_ROOMS:
            continue
        kind = kind_of(route)
        answer = await _send(rest, version, route, key, ids)
        if (
            kind in _NONE_HERE and "{id}" in route.path and not route.operation.startswith("events.of_")
        ) or route.path.count("{") > 1:
            assert errors(answer, 404) == [("RESOURCE_NOT_FOUND", None)]
        elif route.operation in _NOT_DONE:
            assert errors(answer, 409) == [("RESOURCE_CONFLICT", None)]
        elif route.method == "DELETE":
            assert (answer.status, answer.body) == (204, b"")
        else:
            made = document(answer, _status(route))
            _check(made, route, answer, ids)


def _check(made: dict[str, Any], route: Route, answer: Answer, ids: dict[str, str]) -> None:
    kind = kind_of(route)
    shows = ALL[route.operation].shows
    assert shows is not None
    if "id" not in shows.model_fields:
        assert made.keys() == {"jsonapi", "meta"}
        return
    data = made["data"]
    if isinstance(data, list):
        assert "pagination" in made["meta"]
        assert {each["type"] for each in data} <= {kind}
        return
    assert data["type"] == kind
    if route.goes_on == "begun":  # of a twin and of a branch too
        ids[kind] = data["id"]
    elif route.method == "POST" and "{id}" not in route.path:
        ids[kind] = data["id"]
        assert answer.headers["Location"] == data["links"]["self"]
    assert kind == "chat_sanctions" or data["id"] == ids.setdefault(kind, data["id"])


async def test_refusals_of_no_route_are_documents(rest: RestServer, key: str):
    """Where nothing is, where the method is not, of no version; and of what is no operation."""
    assert errors(await ask(rest, "GET", "/v2/nothing", key), 404) == [("RESOURCE_NOT_FOUND", None)]
    assert errors(await ask(rest, "POST", "/versions", key), 405) == [("METHOD_NOT_ALLOWED", None)]
    assert errors(await ask(rest, "PATCH", "/v2/agents", key), 405) == [("METHOD_NOT_ALLOWED", None)]
    assert errors(await ask(rest, "GET", "/agents", key, API_Version="v9"), 400) == [("UNSUPPORTED_VERSION", None)]
    wrong = await ask(rest, "GET", "/openapi.json?version=2", key)
    assert errors(wrong, 422) == [("INVALID_FORMAT", {"parameter": "version"})]


async def test_plain_answers_are_as_before(rest: RestServer, key: str):
    """Without the header, or with others: the resource bare, and in a list under `data`."""
    made = await rest.call("POST", "/v2/agents", key, body={"name": "Ada"})
    id = made.json()["id"]
    for accept in ("*/*", "application/json", "text/html, */*;q=0.1", f"{MEDIA};q=0", f"application/json, {MEDIA}"):
        answer = await rest.call("GET", f"/v2/agents/{id}", key, headers={"Accept": accept})
        assert (answer.json(), answer.headers["ETag"]) == (made.json(), '"1"')
        assert "Accept" in answer.headers["Vary"]
