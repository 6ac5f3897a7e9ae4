"""Another organisation: the doors that take several operations or formats in one request are no way around it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from core.ids import new_id, parse_id
from rest.door import VERSIONS
from rest.moving.poured import POURED
from rest.v2 import V2
from tests.harness.organisations import Organisation, Organisations
from tests.rest.belongings import LATER, Belongings
from tests.rest.server import RestServer
from tests.rest.test_idempotency import BODIES

JSONAPI = {"Accept": "application/vnd.api+json"}
# Of what takes no idempotency key.
OTHER_BODIES: dict[str, Any] = {
    "event-types.register": {"schema": {"type": "object"}, "example": {}},
    **{f"{kind}.replace": {"name": "Theirs"} for kind in ("agents", "knowledge", "twins")},
    "knowledge.query": {"question": "What is ours?"},
    "agents.execute": {"query": "What is ours?"},
    "knowledge.evaluate": {"questions": [{"question": "What is ours?", "relevant": ["a.md"]}]},
}

OTHER_BODIES["namespaces.replace"] = {"history_entries": 5}

# What a route cannot do without, beside its path: the name of an id.
QUERIES = {"twins.paths": "to"}


@pytest.fixture
async def foreign_key(organisations: Organisations) -> str:
    """A key of another organisation, with every scope."""
    return await (await organisations.create()).key()


async def made(rest: RestServer, key: str, kind: str, **body: Any) -> str:
    answer = await rest.call("POST", f"/v2/{kind}", key, body={"name": "Ours", **body})
    assert answer.status == 201, answer
    return answer.json()["id"]


async def test_what_is_there_is_held_by_nobody_else(rest: RestServer, key: str, foreign_key: str):
    """No condition tells a foreigner that there is something: neither a tag nor a date nor `*`."""
    id = await made(rest, key, "agents")
    for condition in (
        {"If-None-Match": "*"},
        {"If-None-Match": '"1"'},
        {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    ):
        (await rest.call("GET", f"/v2/agents/{id}", foreign_key, headers=condition)).error(404, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("atomic", [False, True])
async def test_batch_reaches_nothing_of_others(rest: RestServer, key: str, foreign_key: str, *, atomic: bool):
    """After a write of its own as before it, on the same connection of PostgreSQL; and what is theirs stays as it is."""
    id = await made(rest, key, "agents")
    foreign = [
        {"method": "GET", "path": f"/v2/agents/{id}"},
        {"method": "PATCH", "path": f"/v2/agents/{id}", "body": {"name": "Theirs"}},
        {"method": "DELETE", "path": f"/v2/agents/{id}"},
    ]
    own = {"method": "POST", "path": "/v2/agents", "body": {"name": "Theirs"}}
    for each in foreign:
        sent = {"operations": [own, each], "atomic": atomic}
        first, second = (await rest.call("POST", "/v2/batch", foreign_key, body=sent)).json()["results"]
        assert (first["status"], second["status"]) == (424 if atomic else 201, 404)
    kept = (await rest.call("GET", f"/v2/agents/{id}", key)).json()
    assert (kept["name"], kept["version"]) == ("Ours", 1)
    assert (await rest.call("GET", "/v2/agents", key)).json()["pagination"]["total"] == 1


async def test_include_shows_nothing_of_others(rest: RestServer, key: str, foreign_key: str):
    """An agent may name any id; whose it is not does not see it."""
    id = await made(rest, key, "knowledge")
    theirs = await made(rest, foreign_key, "agents", knowledge=[id])
    shown = await rest.call("GET", f"/v2/agents/{theirs}?include=knowledge", foreign_key, headers=JSONAPI)
    document = orjson.loads(shown.body)
    assert document["data"]["relationships"]["knowledge"]["data"] == [{"type": "knowledge", "id": id}]
    assert document["included"] == []


# Each route that has a name of something in its path, in each version: method, path, operation.
NAMED = [
    *((v, route.method, route.path, route.operation) for v in VERSIONS for route in v.routes if "{" in route.path),
    *((v, "GET", path, operation) for v in VERSIONS if v.moves_knowledge for path, operation, _ in POURED),
]
# What a credential may be restricted to, and what is of one of these.
RESTRICTED = ("agents", "knowledge", "twins", "executions", "branches", "simulations")
# Types of events, namespaces and rooms have names that each organisation gives by itself: who uses the same one has its own
# (of rooms: tests/hub/test_channels.py, tests/hub/stream/test_chats.py).
OWN_NAMES = {"event-types.register", "namespaces.replace", "chats.sanctions"} | {
    *(f"chats.{verb}" for verb in ("edit", "delete", "mute", "ban")),
    *(f"channels.{verb}" for verb in ("publish", "history", "presence")),
}
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def ours(rest: RestServer, key: str, organisation: Organisation) -> Belongings:
    """One of everything."""
    made = Belongings(rest, key, organisation)
    await made.make()
    return made


def body_of(operation: str) -> Any:
    """Return a body that the operation takes."""
    return BODIES.get(operation, (OTHER_BODIES.get(operation), None))[0]


def asked_at(ours: Belongings, path: str, operation: str, headers: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the path of what is ours, with the query that the operation cannot do without, as what is accepted has it."""
    name = QUERIES.get(operation)
    if name is None:
        return ours.path(path)
    return ours.path(f"{path}?{f'filter[{name}]' if headers == JSONAPI else name}={{id}}")


async def test_every_path_that_the_door_has_is_tried(rest: RestServer):
    """None is left out of the routes that the tests below go through."""
    named = {path for path in rest.paths if "{" in path and "{path}" not in path}
    assert named == {f"{version.prefix}{path}" for version, _, path, _ in NAMED}


async def test_no_route_lets_another_organisation_in(rest: RestServer, ours: Belongings, foreign_key: str):
    """By whatever id, name or form: what is ours is not there, and not a row of it has changed."""
    before = await ours.rows()
    assert sum(map(bool, before.values())) > 20
    wrong: list[str] = []
    for version, method, path, operation in NAMED:
        for headers in () if operation in OWN_NAMES else ({}, STREAM, JSONAPI):
            where = f"{version.prefix}{asked_at(ours, path, operation, headers)}"
            answer = await rest.call(method, where, foreign_key, body=body_of(operation), headers=headers)
            if answer.status != 404:
                wrong.append(f"{method} {version.prefix}{path} {headers}: {answer.status} {answer.body[:300]!r}")
    assert wrong == []
    own = await rest.call("PUT", ours.path("/v2/event-types/{id}"), foreign_key, body=body_of("event-types.register"))
    assert own.status == 200, own
    assert await ours.rows() == before


async def test_each_of_these_routes_leads_to_what_is_ours(rest: RestServer, ours: Belongings):
    """With our own key; else nobody would have been kept out by what is shown above. What is deleted comes last, from below."""
    order = ("GET", "PATCH", "PUT", "POST", "DELETE")
    routes = [(method, path, operation) for version, method, path, operation in NAMED if version is V2]
    for method, path, operation in sorted(routes, key=lambda each: (order.index(each[0]), -each[1].count("/"))):
        if path.startswith("/connections/"):
            continue
        where = f"/v2{asked_at(ours, path, operation)}"
        answer = await rest.call(method, where, ours.key, body=body_of(operation), headers=LATER)
        assert answer.status not in (404, 405), (method, path, answer.body)


async def test_no_list_shows_what_another_organisation_has(rest: RestServer, ours: Belongings, foreign_key: str):
    """Nor where it is asked for by its id; its owner sees it in the same list."""
    ids = {id for name, id in ours.of.items() if name != "connections" and parse_id(id) is not None}
    lists = [(v, route.path) for v in VERSIONS for route in v.routes if route.method == "GET" and "{" not in route.path]
    seen: set[str] = set()
    for version, path in lists:
        where = f"{version.prefix}{path}?per_page=100"
        answer = await rest.call("GET", where, foreign_key)
        assert answer.status == 200, (path, answer)
        assert [id for id in ids if id in answer.body.decode()] == [], path
        own = await rest.call("GET", where, ours.key)
        seen |= {id for id in ids if id in own.body.decode()}
    of_agent = await rest.call("GET", f"/v2/executions?agent_id={ours.of['agents']}", foreign_key)
    assert of_agent.json()["data"] == []
    assert seen >= {ours.of[kind] for kind in RESTRICTED if kind != "branches"}  # listed below their twin
    assert seen >= {ours.of[kind] for kind in ("keys", "webhooks", "subscriptions", "jobs")}


async def test_no_route_lets_a_key_for_another_resource_in(
    rest: RestServer, ours: Belongings, organisation: Organisation
):
    """It is refused as a stranger is, by all that is of a resource."""
    restricted = await organisation.key(resource_ids=[new_id()])
    before = await ours.rows()
    for version, method, path, operation in NAMED:
        if path.split("/")[1] not in RESTRICTED:
            continue
        where = f"{version.prefix}{asked_at(ours, path, operation)}"
        answer = await rest.call(method, where, restricted, body=body_of(operation))
        answer.error(404, "RESOURCE_NOT_FOUND")
    assert await ours.rows() == before
