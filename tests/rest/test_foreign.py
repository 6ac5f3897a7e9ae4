"""Another organisation: the doors that take several operations or formats in one request are no way around it."""

from typing import Any

import orjson
import pytest

from core.ids import new_id
from rest.v2 import V2
from tests.harness.organisations import Organisation, Organisations
from tests.rest.server import RestServer
from tests.rest.test_idempotency import BODIES

JSONAPI = {"Accept": "application/vnd.api+json"}
# Of what takes no idempotency key.
OTHER_BODIES = {
    **{f"{kind}.replace": {"name": "Theirs"} for kind in ("agents", "knowledge", "twins")},
    "knowledge.query": {"question": "What is ours?"},
    "agents.execute": {"query": "What is ours?"},
    "knowledge.evaluate": {"questions": [{"question": "What is ours?", "relevant": ["a.md"]}]},
}


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


async def test_no_route_of_a_resource_lets_others_in(
    rest: RestServer, key: str, foreign_key: str, organisation: Organisation
):
    """Another organisation, and a key of this one that is for another resource only, get the same refusal at each route."""
    ids = {kind: await made(rest, key, kind) for kind in ("agents", "knowledge", "twins")}
    documents = f"/v2/knowledge/{ids['knowledge']}/documents"
    sent = {"name": "a.md", "content": "A"}
    document = (await rest.call("POST", documents, key, body=sent)).json()["data"][0]["id"]
    strangers = (foreign_key, await organisation.key(resource_ids=[new_id()]))
    tried = 0
    for route in V2.routes:
        kind = route.path.split("/")[1]
        if kind not in ids or "{id}" not in route.path:
            continue
        path = f"/v2{route.path}".replace("{id}", ids[kind]).replace("{document}", document)
        body = BODIES.get(route.operation, (OTHER_BODIES.get(route.operation), None))[0]
        for stranger in strangers:
            answer = await rest.call(route.method, path, stranger, body=body)
            answer.error(404, "RESOURCE_NOT_FOUND")
            tried += 1
    assert tried > 2 * len(OTHER_BODIES)
    for kind, id in ids.items():
        assert (await rest.call("GET", f"/v2/{kind}/{id}", key)).json()["version"] == 1
    assert (await rest.call("GET", f"{documents}/{document}", key)).status == 200
