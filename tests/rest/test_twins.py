"""Twins over REST: what is bad input is refused by name, with nothing half applied; and what is asked of their state."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.rest.jsonapi.documents import ask, document
from tests.rest.server import Answer, RestServer


async def make(rest: RestServer, key: str, **body: Any) -> str:
    made = await rest.call("POST", "/v2/twins", key, body={"name": "Pump", **body})
    assert made.status == 201, made
    return made.json()["id"]


async def raw(rest: RestServer, key: str, id: str, text: bytes) -> Answer:
    return await rest.call("PATCH", f"/v2/twins/{id}", key, data=text, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"01"])
async def test_what_is_no_number_of_json_is_refused(rest: RestServer, key: str, number: bytes):
    """The twin stays as it was."""
    id = await make(rest, key, data={"rpm": 1})
    answer = await raw(rest, key, id, b'{"data": {"rpm": ' + number + b"}}")
    answer.error(400, "BAD_REQUEST")
    assert (await rest.call("GET", f"/v2/twins/{id}", key)).json()["data"] == {"rpm": 1}


async def test_two_rules_have_not_one_name(rest: RestServer, key: str):
    """Made or changed: by it their alerts are known."""
    rule = {"name": "too_hot", "metric": "heat", "when": "above", "threshold": 80}
    body = {"name": "Pump", "rules": [rule, {**rule, "name": "hot"}, {**rule, "threshold": 90}]}
    id = await make(rest, key, rules=body["rules"][:2])
    made = await rest.call("POST", "/v2/twins", key, body=body)
    changed = await rest.call("PATCH", f"/v2/twins/{id}", key, body={"rules": body["rules"]})
    for answer in (made, changed):
        details = answer.error(422, "VALIDATION_ERROR")["details"]
        assert [each["field"] for each in details] == ["rules[2].name"]


async def test_a_million_keys_are_refused(rest: RestServer, key: str):
    """By size, or by their number where they are small; of what is taken all is kept."""
    id = await make(rest, key)
    keys = b",".join(b'"%d":0' % number for number in range(1_000_000))
    (await raw(rest, key, id, b'{"data": {' + keys + b"}}")).error(413, "PAYLOAD_TOO_LARGE")
    few = b",".join(b'"%x":0' % number for number in range(100_100))
    error = (await raw(rest, key, id, b'{"data": {' + few + b"}}")).error(413, "PAYLOAD_TOO_LARGE")
    assert "values" in error["message"]
    taken = {str(number): 0 for number in range(90_000)}
    answer = await raw(rest, key, id, orjson.dumps({"data": taken}))
    assert answer.json()["data"] == taken


async def test_twin_does_not_grow_beyond_its_bound(rest: RestServer, key: str):
    """A MiB comes in at once; what would be more by several changes is refused, by either kind of patch."""
    id = await make(rest, key, data={"a": "x" * 900_000})
    (await raw(rest, key, id, orjson.dumps({"data": {"b": "x" * 300_000}}))).error(413, "PAYLOAD_TOO_LARGE")
    copy = orjson.dumps([{"op": "copy", "from": "/data/a", "path": "/data/b"}])
    headers = {"Content-Type": "application/json-patch+json"}
    answer = await rest.call("PATCH", f"/v2/twins/{id}", key, data=copy, headers=headers)
    answer.error(413, "PAYLOAD_TOO_LARGE")
    assert (await rest.call("GET", f"/v2/twins/{id}", key)).json()["version"] == 1


async def test_twins_that_name_each_other_at_once_do_not_wait_for_each_other(rest: RestServer, key: str):
    """Both are written: nobody holds the twin that it names."""
    one, other = await make(rest, key), await make(rest, key)

    async def name(source: str, target: str) -> int:
        body = {"relationships": [{"name": "feeds", "target": target}]}
        return (await rest.call("PATCH", f"/v2/twins/{source}", key, body=body)).status

    for _ in range(5):
        both = await asyncio.gather(name(one, other), name(other, one))
        assert both == [200, 200]
    near = await rest.call("GET", f"/v2/twins/{one}/neighbours", key)
    assert [each["direction"] for each in near.json()["data"]] == ["out", "in"]


async def test_state_is_asked(rest: RestServer, key: str):
    """Each view over its path, also as JSON:API; what is no value is 422, what is no name 400."""
    leaf = await make(rest, key, desired={"rpm": 2}, reported={"rpm": 1})
    root = await make(rest, key, relationships=[{"name": "contains", "target": leaf}])
    difference = await rest.call("GET", f"/v2/twins/{leaf}/difference", key)
    assert (difference.json()["difference"], difference.headers["Cache-Control"]) == ({"rpm": 2}, "no-store")
    paths = (await rest.call("GET", f"/v2/twins/{root}/paths?to={leaf}&name=contains&depth=1", key)).json()
    assert (paths["length"], paths["paths"][0]["steps"][0]["twin"]["id"]) == (1, leaf)
    subtree = (await rest.call("GET", f"/v2/twins/{root}/subtree", key)).json()
    assert [(each["id"], each["parent_id"]) for each in subtree["twins"]] == [(leaf, root)]
    near = document(await ask(rest, "GET", f"/v2/twins/{leaf}/neighbours", key), 200)
    (one,) = near["data"]
    assert (one["type"], one["id"]) == ("relationships", f"{root}:contains:{leaf}")
    plain = await ask(rest, "GET", f"/v2/twins/{root}/paths?filter[to]={leaf}", key)
    assert document(plain, 200)["meta"]["length"] == 1
    for query in ("depth=0", "depth=11", "name=a%20b"):
        (await rest.call("GET", f"/v2/twins/{root}/subtree?{query}", key)).error(422, "VALIDATION_ERROR")
    (await rest.call("GET", f"/v2/twins/{root}/paths", key)).error(422, "VALIDATION_ERROR")
    (await rest.call("GET", f"/v2/twins/{root}/neighbours?direction=up", key)).error(422, "VALIDATION_ERROR")
    (await rest.call("GET", f"/v2/twins/{root}/subtree?to={leaf}", key)).error(400, "UNKNOWN_PARAMETER")
