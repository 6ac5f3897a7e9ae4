"""Atomic operations (https://jsonapi.org/ext/atomic/): all of a document's operations happen, or none."""

from typing import Any

import orjson
import pytest

from tests.harness.organisations import Organisation
from tests.rest.jsonapi.documents import CHECKER, errors
from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import Answer, RestServer

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR

EXTENSION = "https://jsonapi.org/ext/atomic"
MEDIA = f'application/vnd.api+json; ext="{EXTENSION}"'


async def _run(rest: RestServer, key: str | None, *operations: Any, **headers: str) -> Answer:
    sent = {"Content-Type": MEDIA, "Accept": MEDIA, **{name.replace("_", "-"): each for name, each in headers.items()}}
    return await rest.call("POST", "/v2/operations", key, body={"atomic:operations": operations}, headers=sent)


def _results(answer: Answer) -> list[Any]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, MEDIA), answer.body
    made = orjson.loads(answer.body)
    CHECKER.validate(made)
    assert made["jsonapi"] == {"version": "1.1", "ext": [EXTENSION]}
    return made["atomic:results"]


def _add(type: str, lid: str | None = None, related: Any = None, **attributes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"type": type, "attributes": attributes}
    if lid is not None:
        data["lid"] = lid
    if related is not None:
        data["relationships"] = {"knowledge": {"data": related}}
    return {"op": "add", "data": data}


async def _names(rest: RestServer, key: str, kind: str) -> list[str]:
    return [each["name"] for each in (await rest.call("GET", f"/v2/{kind}?sort=name", key)).json()["data"]]


async def test_later_operations_name_what_earlier_ones_make(rest: RestServer, key: str):
    """By local ids: in relationships, as `ref` and in `data`; a result for each, in order."""
    base = {"type": "knowledge", "lid": "base"}
    results = _results(
        await _run(
            rest,
            key,
            _add("knowledge", "base", name="b"),
            _add("agents", "agent", [base], name="Ada", subtype="helper"),
            {"op": "update", "data": {"type": "agents", "lid": "agent", "attributes": {"status": "paused"}}},
            {"op": "update", "ref": base, "data": {**base, "attributes": {"name": "c"}}},
        )
    )
    made, agent, paused, renamed = (each["data"] for each in results)
    assert agent["relationships"]["knowledge"]["data"] == [{"type": "knowledge", "id": made["id"]}]
    assert (paused["id"], paused["attributes"]["status"]) == (agent["id"], "paused")
    assert (renamed["id"], renamed["attributes"]["name"], renamed["attributes"]["version"]) == (made["id"], "c", 2)
    plain = (await rest.call("GET", f"/v2/agents/{agent['id']}", key)).json()
    assert (plain["type"], plain["knowledge"], plain["status"]) == ("helper", [made["id"]], "paused")


async def test_resources_are_named_by_ref_href_and_data(rest: RestServer, key: str):
    """What is removed leaves an empty result."""
    first, second = (
        each["data"] for each in _results(await _run(rest, key, _add("twins", name="a"), _add("twins", name="b")))
    )
    path = f"/v2/twins/{second['id']}"
    results = _results(
        await _run(
            rest,
            key,
            {"op": "update", "data": {"type": "twins", "id": first["id"], "attributes": {"name": "z"}}},
            {"op": "update", "href": path, "data": {"type": "twins", "id": second["id"], "attributes": {"name": "y"}}},
            {"op": "remove", "href": path},
            {"op": "remove", "ref": {"type": "twins", "id": first["id"]}},
            {"op": "add", "href": "/v2/twins", "data": {"type": "twins", "attributes": {"name": "c"}}},
        )
    )
    assert [each.get("data", {}).get("attributes", {}).get("name") for each in results] == ["z", "y", None, None, "c"]
    assert results[2] == results[3] == {}
    assert await _names(rest, key, "twins") == ["c"]


async def test_one_refusal_undoes_all(rest: RestServer, key: str):
    """The errors are of the one that was refused, with its own status and place."""
    refused = await _run(rest, key, _add("agents", name="a"), _add("agents", name="", subtype="!"))
    place = "/atomic:operations/1/data/attributes"
    assert set(_places(refused, 422)) == {f"{place}/name", f"{place}/subtype"}
    gone = {"op": "remove", "ref": {"type": "agents", "id": "01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55"}}
    refused = await _run(rest, key, _add("agents", name="a"), gone)
    assert errors(refused, 404) == [("RESOURCE_NOT_FOUND", {"pointer": "/atomic:operations/1"})]
    assert await _names(rest, key, "agents") == []


async def test_every_operation_needs_its_scope(rest: RestServer, organisation: Organisation):
    """As by itself."""
    poor = await organisation.key(["read:agents", "write:agents"])
    refused = await _run(rest, poor, _add("agents", name="a"), _add("twins", name="b"))
    assert errors(refused, 403) == [("INSUFFICIENT_SCOPE", {"pointer": "/atomic:operations/1"})]
    assert await _names(rest, poor, "agents") == []
    assert errors(await _run(rest, None, _add("agents", name="a")), 401) == [("AUTHENTICATION_REQUIRED", None)]


async def test_a_key_makes_it_happen_once(rest: RestServer, key: str):
    """A repeat gets the same results."""
    first = await _run(rest, key, _add("agents", "x", name="a"), _add("agents", name="b"), Idempotency_Key="k")
    again = await _run(rest, key, _add("agents", "x", name="a"), _add("agents", name="b"), Idempotency_Key="k")
    assert _results(first) == _results(again)
    assert await _names(rest, key, "agents") == ["a", "b"]


@pytest.mark.parametrize(
    ("operation", "status", "pointer"),
    [
        (1, 422, "/0"),
        ({}, 422, "/0"),
        ({"op": "move"}, 422, "/0/op"),
        ({"op": "add"}, 422, "/0"),
        ({"op": "add", "data": {"type": "rivers"}}, 422, "/0/data/type"),
        ({"op": "add", "data": {"type": "tokens"}}, 422, "/0/data/type"),
        ({"op": "add", "data": {"type": "agents", "id": "mine"}}, 403, "/0/data/id"),
        ({"op": "add", "href": "/v2/twins", "data": {"type": "agents"}}, 409, "/0/data/type"),
        ({"op": "add", "href": "/v2/batch/x/y", "data": {"type": "agents"}}, 422, "/0/href"),
        ({"op": "add", "ref": {}, "href": "/v2/agents"}, 422, "/0"),
        ({"op": "update", "data": {"type": "agents", "attributes": {}}}, 422, "/0/data"),
        ({"op": "update", "data": {"type": "agents", "lid": "later"}}, 422, "/0/data/lid"),
        (
            {"op": "update", "ref": {"type": "agents", "id": "a"}, "data": {"type": "agents", "id": "b"}},
            409,
            "/0/data/id",
        ),
        ({"op": "remove"}, 422, "/0"),
        ({"op": "remove", "href": "/v2/agents"}, 422, "/0"),
        (
            {"op": "remove", "ref": {"type": "agents", "id": "a", "relationship": "knowledge"}},
            422,
            "/0/ref/relationship",
        ),
        ({"op": "update", "ref": {"type": "agents", "id": "a"}}, 422, "/0"),
    ],
)
async def test_what_is_no_operation(rest: RestServer, key: str, operation: Any, status: int, pointer: str):
    """Is refused before anything happens, and a pointer leads to it."""
    assert _places(await _run(rest, key, operation), status) == [f"/atomic:operations{pointer}"]


async def test_documents_have_operations(rest: RestServer, key: str):
    """1 to 100, and each local id once."""
    assert _places(await _run(rest, key), 422) == ["/atomic:operations"]
    many = (_add("agents", name=str(number)) for number in range(101))
    assert _places(await _run(rest, key, *many), 422) == ["/atomic:operations"]
    twice = await _run(rest, key, _add("agents", "x", name="a"), _add("agents", "x", name="b"))
    assert _places(twice, 422) == ["/atomic:operations/1/data/lid"]
    other = await rest.call("POST", "/v2/operations", key, body={"data": []}, headers={"Content-Type": MEDIA})
    assert _places(other, 422) == [""]
    late = await _run(rest, key, _add("agents", name="a"), X_Request_Timeout="soon")
    assert errors(late, 422) == [("INVALID_FORMAT", {"header": "X-Request-Timeout"})]


async def test_extension_has_to_be_named(rest: RestServer, key: str):
    """In Content-Type; other endpoints do not have it."""
    body = {"atomic:operations": [_add("agents", name="a")]}
    for media in (
        "application/json",
        "application/vnd.api+json",
        'application/vnd.api+json; ext="https://example.com/x"',
    ):
        refused = await rest.call("POST", "/v2/operations", key, body=body, headers={"Content-Type": media})
        assert errors(refused, 415) == [("UNSUPPORTED_MEDIA_TYPE", None)]
    refused = await rest.call("POST", "/v2/agents", key, body=body, headers={"Content-Type": MEDIA})
    assert errors(refused, 415) == [("UNSUPPORTED_MEDIA_TYPE", None)]
    refused = await rest.call("GET", "/v2/agents", key, headers={"Accept": MEDIA})
    assert errors(refused, 406) == [("NOT_ACCEPTABLE", None)]
    assert errors(await rest.call("GET", "/v2/operations", key, headers={"Accept": MEDIA}), 405) == [
        ("METHOD_NOT_ALLOWED", None)
    ]


def _places(answer: Answer, status: int) -> list[str]:
    return [source["pointer"] for _, source in errors(answer, status) if source is not None]
