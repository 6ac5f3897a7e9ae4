"""PATCH with `application/json-patch+json`: of every kind, under If-Match, in batches, racing, and what of it is refused."""

import asyncio
from collections import Counter
from typing import Any

import orjson
import pytest

from handlers.resources.json_patch import MOST_OPERATIONS
from rest.requests import JSON_PATCH
from tests.rest.batches import code, send, statuses
from tests.rest.jsonapi.documents import MEDIA
from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import Answer, RestServer

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR
KINDS = ("agents", "knowledge", "twins")


async def make(rest: RestServer, key: str, kind: str = "twins", **body: Any) -> str:
    made = await rest.call("POST", f"/v2/{kind}", key, body={"name": "Pump", **body})
    assert made.status == 201, made
    return made.headers["Location"]


async def change(rest: RestServer, key: str, path: str, *operations: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await rest.call(
        "PATCH", path, key, data=orjson.dumps(operations), headers={"Content-Type": JSON_PATCH, **named}
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_takes_operations(rest: RestServer, key: str, kind: str):
    """One after the other; the next version, with its tag and its event."""
    one = await make(rest, key, kind, metadata={"a": [1, 2]})
    changed = await change(
        rest,
        key,
        one,
        {"op": "test", "path": "/version", "value": 1},
        {"op": "add", "path": "/metadata/a/0", "value": None},
        {"op": "move", "from": "/metadata/a", "path": "/metadata/b"},
        {"op": "replace", "path": "/status", "value": "paused"},
        If_Match='"1"',
    )
    assert changed.status == 200, changed
    assert changed.headers["ETag"] == '"2"'
    assert changed.headers["X-Event-Id"]
    document = changed.json()
    assert (document["metadata"], document["status"], document["version"]) == ({"b": [None, 1, 2]}, "paused", 2)
    assert (await rest.call("GET", one, key)).json() == document


@pytest.mark.parametrize("kind", KINDS)
async def test_test_that_fails_is_409(rest: RestServer, key: str, kind: str):
    """PATCH_TEST_FAILED, and nothing of what stands before it has happened."""
    one = await make(rest, key, kind)
    add = {"op": "replace", "path": "/name", "value": "Other"}
    answer = await change(rest, key, one, add, {"op": "test", "path": "/status", "value": "gone"})
    error = answer.error(409, "PATCH_TEST_FAILED")
    assert [each["field"] for each in error["details"]] == ["patch[1]"]
    missing = await change(rest, key, one, add, {"op": "remove", "path": "/metadata/none"})
    missing.error(409, "RESOURCE_CONFLICT")
    assert (await rest.call("GET", one, key)).json()["version"] == 1


async def test_result_is_held_to_what_a_body_is(rest: RestServer, key: str):
    """What no PUT may write no patch may either; what is removed has its default."""
    one = await make(rest, key, status="idle")
    for path, value, field in (("/name", 7, "name"), ("/colour", "red", "colour"), ("/status", None, "status")):
        error = (await change(rest, key, one, {"op": "add", "path": path, "value": value})).error(
            422, "VALIDATION_ERROR"
        )
        assert [each["field"] for each in error["details"]] == [field]
    (await change(rest, key, one, {"op": "remove", "path": "/name"})).error(422, "VALIDATION_ERROR")
    (await change(rest, key, one, {"op": "replace", "path": "", "value": [1]})).error(422, "VALIDATION_ERROR")
    assert (await change(rest, key, one, {"op": "remove", "path": "/status"})).json()["status"] == "active"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "BAD_REQUEST"),
        (b"[{]", 400, "BAD_REQUEST"),
        (b'[{"op": "add", "path": "/data", "value": NaN}]', 400, "BAD_REQUEST"),
        (b'{"name": "A"}', 422, "VALIDATION_ERROR"),
        (b"[1]", 422, "VALIDATION_ERROR"),
        (b'[{"op": "increment", "path": "/data"}]', 422, "VALIDATION_ERROR"),
        (b'[{"op": "add", "path": "/data"}]', 422, "VALIDATION_ERROR"),
        (b'[{"op": "move", "path": "/data"}]', 422, "VALIDATION_ERROR"),
        (orjson.dumps([{"op": "test", "path": "", "value": 1}] * (MOST_OPERATIONS + 1)), 422, "VALIDATION_ERROR"),
        (b'[{"op": "add", "path": "/data", "value": [' + b"0," * 100_000 + b"0]}]", 413, "PAYLOAD_TOO_LARGE"),
        (b'[{"op": "add", "path": "/data", "value": "' + b"x" * 1_048_576 + b'"}]', 413, "PAYLOAD_TOO_LARGE"),
    ],
)
async def test_what_is_no_patch_is_refused(rest: RestServer, key: str, body: bytes, status: int, error: str):
    """By the same bounds as any body."""
    one = await make(rest, key)
    answer = await rest.call("PATCH", one, key, data=body, headers={"Content-Type": JSON_PATCH})
    answer.error(status, error)
    assert (await rest.call("GET", one, key)).json()["version"] == 1


async def test_others_do_not_take_it(rest: RestServer, key: str):
    """Not POST, not PUT, not what is no resource; and JSON:API has a form of its own."""
    one = await make(rest, key)
    patch = orjson.dumps([{"op": "remove", "path": "/data"}])
    for method, path in (("POST", "/v2/twins"), ("PUT", one), ("POST", "/v2/batch")):
        answer = await rest.call(method, path, key, data=patch, headers={"Content-Type": JSON_PATCH})
        answer.error(415, "UNSUPPORTED_MEDIA_TYPE")
    headers = {"Content-Type": JSON_PATCH, "Accept": MEDIA}
    assert (await rest.call("PATCH", one, key, data=patch, headers=headers)).status == 415
    plain = await rest.call("PATCH", one, key, body=[])
    plain.error(422, "VALIDATION_ERROR")


async def test_batch_takes_it_where_its_entry_says_so(rest: RestServer, key: str, atomic: bool):
    """By Content-Type; references stand in values as anywhere."""
    patch = [{"op": "add", "path": "/metadata/of", "value": {"$ref": "0.body.id"}}]
    results = await send(
        rest,
        key,
        {"method": "POST", "path": "/v2/twins", "body": {"name": "A"}},
        {
            "method": "PATCH",
            "path": "/v2/twins/{0.body.id}",
            "headers": {"content-type": JSON_PATCH, "If-Match": {"$ref": "0.headers.ETag"}},
            "body": patch,
        },
        atomic=atomic,
    )
    assert statuses(results) == [201, 200]
    assert results[1]["body"]["metadata"] == {"of": results[0]["body"]["id"]}


async def test_batch_refuses_what_is_no_patch(rest: RestServer, key: str):
    """An array that is not said to be one, and an object that is."""
    one = await make(rest, key)
    entry = {"method": "PATCH", "path": one}
    results = await send(
        rest, key, {**entry, "body": []}, {**entry, "headers": {"Content-Type": JSON_PATCH}, "body": {"name": "B"}}
    )
    assert [code(each) for each in results] == ["VALIDATION_ERROR", "VALIDATION_ERROR"]


@pytest.mark.parametrize("is_patch", [True, False])
async def test_two_that_race_with_one_tag_are_one(rest: RestServer, key: str, is_patch: bool):
    """The other is 412, by whichever kind of patch."""
    one = await make(rest, key)

    async def write(number: int) -> int:
        if is_patch:
            operation = {"op": "add", "path": "/data", "value": number}
            return (await change(rest, key, one, operation, If_Match='"1"')).status
        answer = await rest.call("PATCH", one, key, body={"data": number}, headers={"If-Match": '"1"'})
        return answer.status

    assert Counter(await asyncio.gather(*map(write, range(8)))) == {200: 1, 412: 7}
    assert (await rest.call("GET", one, key)).json()["version"] == 2


async def test_a_hundred_at_once_are_each_applied_once(rest: RestServer, key: str):
    """Merge patches and JSON Patches, mixed: no change is lost, and none is there twice."""
    one = await make(rest, key, data={"log": [], "by": {}})

    async def write(number: int) -> int:
        if number % 2:
            return (await change(rest, key, one, {"op": "add", "path": "/data/log/-", "value": number})).status
        answer = await rest.call("PATCH", one, key, body={"data": {"by": {str(number): number}}})
        return answer.status

    assert set(await asyncio.gather(*map(write, range(100)))) == {200}
    twin = (await rest.call("GET", one, key)).json()
    assert sorted(twin["data"]["log"]) == list(range(1, 100, 2))
    assert sorted(twin["data"]["by"].values()) == list(range(0, 100, 2))
    assert twin["version"] == 101


async def test_key_gives_the_first_answer_again(rest: RestServer, key: str):
    """A patch that is sent twice under one key is applied once."""
    one = await make(rest, key, data=[])
    add = {"op": "add", "path": "/data/-", "value": 1}
    first = await change(rest, key, one, add, Idempotency_Key="a")
    again = await change(rest, key, one, add, Idempotency_Key="a")
    assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")
    other = await change(rest, key, one, {**add, "value": 2}, Idempotency_Key="a")
    other.error(422, "IDEMPOTENCY_KEY_REUSED")
