"""Appending events over REST: what is answered, in batches, as JSON:API, and who may."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tests.harness.organisations import Organisation, Organisations
from tests.harness.relaying import Relaying, relaying
from tests.rest.server import RestServer

EVENT: dict[str, Any] = {"type": "custom.order.placed", "subject": "order-17", "data": {"total": 99.5}}
JSONAPI = "application/vnd.api+json"


@pytest.fixture
async def relay(database_url: str) -> AsyncIterator[Relaying]:
    """A relay beside the door."""
    async with relaying(database_url) as running:
        yield running


async def test_answer_names_the_events_and_where_the_last_one_is(rest: RestServer, key: str, relay: Relaying):
    """201 with X-Event-Id and Location; soon it is there."""
    answer = await rest.call("POST", "/v2/events", key, body={"events": [EVENT, {**EVENT, "subject": "order-18"}]})
    assert answer.status == 201
    said = answer.json()
    assert [each["version"] for each in said["events"]] == [1, 1]
    assert said["subjects"] == {"order-17": 1, "order-18": 1}
    assert answer.headers["X-Event-Id"] == said["events"][-1]["id"]
    assert answer.headers["Location"] == f"/v2/events/{said['events'][-1]['id']}"
    await relay.settled()
    read = await rest.call("GET", answer.headers["Location"], key)
    assert (read.json()["data"], read.json()["subject"], read.headers["ETag"]) == (EVENT["data"], "order-18", '"1"')


async def test_conflict_names_the_version(rest: RestServer, key: str):
    """409, with the field and the version that the subject has."""
    await rest.call("POST", "/v2/events", key, body=EVENT)
    answer = await rest.call("POST", "/v2/events", key, body={**EVENT, "expected_version": 7})
    error = answer.error(409, "RESOURCE_CONFLICT")
    assert error["message"] == "order-17 has the version 1, not 7"
    assert [each["field"] for each in error["details"]] == ["expected_version"]


async def test_bodies_are_read_as_strictly_as_others(rest: RestServer, key: str):
    """NUL bytes, names that stand twice, large integers, NaN, no object."""
    start = b'{"type": "custom.a", "subject": "a", "data": '
    for data, status, code in (
        (start + b'{"a": "\x00"}}', 400, "BAD_REQUEST"),
        (start + b'{"a": 1, "a": 2}}', 400, "BAD_REQUEST"),
        (start + b'{"a": NaN}}', 400, "BAD_REQUEST"),
        (start + b'{"a": "\\ud800"}}', 400, "BAD_REQUEST"),
        (start + b'{"a": 18446744073709551616}}', 422, "VALIDATION_ERROR"),
        (start + b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}}", 422, "VALIDATION_ERROR"),
        (b"[]", 422, "VALIDATION_ERROR"),
    ):
        headers = {"Content-Type": "application/json"}
        (await rest.call("POST", "/v2/events", key, data=data, headers=headers)).error(status, code)


async def test_batch_appends_with_what_else_it_does(rest: RestServer, key: str):
    """An atomic one all or nothing; later operations name what earlier ones made."""
    named = {**EVENT, "data": {"agent": {"$ref": "0.body.id"}}}
    operations: list[dict[str, Any]] = [
        {"method": "POST", "path": "/v2/agents", "body": {"name": "Ada"}},
        {"method": "POST", "path": "/v2/events", "body": {**named, "expected_version": 0}},
        {"method": "POST", "path": "/v2/events", "body": {**EVENT, "expected_version": 1}},
    ]
    done = await rest.call("POST", "/v2/batch", key, body={"operations": operations, "atomic": True})
    results = done.json()["results"]
    assert [each["status"] for each in results] == [201, 201, 201]
    assert results[2]["body"]["subjects"] == {"order-17": 2}
    again = await rest.call("POST", "/v2/batch", key, body={"operations": operations, "atomic": True})
    assert [each["status"] for each in again.json()["results"]] == [424, 409, 424]
    each_alone = await rest.call("POST", "/v2/batch", key, body={"operations": operations})
    assert [each["status"] for each in each_alone.json()["results"]] == [201, 409, 409]
    assert (await rest.call("GET", "/v2/agents", key)).json()["pagination"]["total"] == 2


async def test_jsonapi_takes_one_event_and_many(rest: RestServer, key: str):
    """`type` is called `subtype` there; what was appended is `meta`."""
    attributes = {"subtype": EVENT["type"], "subject": "a", "data": {"type": "x"}}
    headers = {"Content-Type": JSONAPI, "Accept": JSONAPI}
    for given in (attributes, {"events": [EVENT, EVENT]}):
        body = {"data": {"type": "events", "attributes": given}}
        answer = await rest.call("POST", "/v2/events", key, body=body, headers=headers)
        assert answer.status == 201, answer
        assert len(orjson.loads(answer.body)["meta"]["events"]) == len(given.get("events", [1]))
    wrong = {"data": {"type": "events", "attributes": {**attributes, "subtype": "agent.created"}}}
    answer = await rest.call("POST", "/v2/events", key, body=wrong, headers=headers)
    pointers = [each["source"] for each in orjson.loads(answer.body)["errors"]]
    assert (answer.status, pointers) == (422, [{"pointer": "/data/attributes/subtype"}])


async def test_who_may_append(rest: RestServer, organisation: Organisation, organisations: Organisations):
    """With the scope; not over v1, which has no events; subjects of two organisations have nothing to do with each other."""
    key = await organisation.key()
    reader = await organisation.key(["read:events"])
    foreign = await (await organisations.create()).key()
    (await rest.call("POST", "/v2/events", reader, body=EVENT)).error(403, "INSUFFICIENT_SCOPE")
    (await rest.call("POST", "/v1/events", key, body=EVENT)).error(404, "RESOURCE_NOT_FOUND")
    for each in (key, foreign):
        answer = await rest.call("POST", "/v2/events", each, body={**EVENT, "expected_version": 0})
        assert answer.json()["subjects"] == {"order-17": 1}


async def test_type_is_registered_and_its_events_checked(rest: RestServer, key: str):
    """The field is named as it was sent, also to who speaks JSON:API."""
    path = "/v2/event-types/custom.order.placed"
    body = {"schema": {"properties": {"total": {"type": "number"}}}, "example": {"total": 1}}
    registered = await rest.call("PUT", path, key, body=body)
    assert registered.status == 200
    assert (await rest.call("GET", path, key)).json() == registered.json()
    wrong = {**EVENT, "data": {"total": "much"}}
    error = (await rest.call("POST", "/v2/events", key, body=wrong)).error(422, "VALIDATION_ERROR")
    assert [(each["field"], each["code"]) for each in error["details"]] == [("data.total", "INVALID_FORMAT")]
    document = {
        "data": {"type": "events", "attributes": {"subject": "a", "subtype": EVENT["type"], "data": wrong["data"]}}
    }
    headers = {"Content-Type": JSONAPI, "Accept": JSONAPI}
    answer = await rest.call("POST", "/v2/events", key, body=document, headers=headers)
    assert orjson.loads(answer.body)["errors"][0]["source"] == {"pointer": "/data/attributes/data/total"}
    assert (await rest.call("DELETE", path, key)).status == 204
    assert (await rest.call("POST", "/v2/events", key, body=wrong)).status == 201


async def test_type_is_registered_as_a_document(rest: RestServer, key: str):
    """As JSON:API has it, by its name."""
    attributes = {"description": "A", "schema": {"type": "object"}}
    document = {"data": {"type": "event-types", "id": "custom.a", "attributes": attributes}}
    headers = {"Content-Type": JSONAPI, "Accept": JSONAPI}
    answer = await rest.call("PUT", "/v2/event-types/custom.a", key, body=document, headers=headers)
    data = orjson.loads(answer.body)["data"]
    assert (answer.status, data["id"], data["attributes"]["summary"]) == (200, "custom.a", "A")
