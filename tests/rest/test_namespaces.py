"""Namespaces at the REST door: set, looked at, given back; conditions, bounds, rights, the audit."""

import asyncio
from typing import Any

import pytest

from tests.harness.organisations import Organisation
from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import RestServer

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR

CHAT = "/v2/namespaces/chat"


async def put(rest: RestServer, key: str, name: str, body: Any, status: int = 200, **headers: str) -> Any:
    answer = await rest.call("PUT", f"/v2/namespaces/{name}", key, body=body, headers=headers)
    assert answer.status == status, answer
    return answer.json()


async def test_list_has_what_is_built_in_and_what_is_ones_own(rest: RestServer, key: str):
    await put(rest, key, "prices", {"delivery": "latest", "key": "symbol"})
    listed = (await rest.call("GET", "/v2/namespaces?per_page=100", key)).json()["data"]
    by_name = {each["id"]: each for each in listed}
    assert list(by_name) == sorted(by_name)
    assert {"agents", "chat", "telemetry", "users", "runs", "prices"} <= by_name.keys()
    assert (by_name["prices"]["origin"], by_name["chat"]["origin"]) == ("organisation", "built_in")
    assert (by_name["agents"]["kind"], by_name["agents"]["settings"]) == ("log", {"wildcard": True})
    second = (await rest.call("GET", "/v2/namespaces?per_page=1&page=2", key)).json()
    assert [each["id"] for each in second["data"]] == [listed[1]["id"]]
    assert second["pagination"]["total"] == len(listed)


async def test_put_replaces_and_patch_changes_what_is_set(rest: RestServer, key: str):
    """`null` gives one setting back; DELETE all; versions go on, and each says what goes now."""
    fresh = (await rest.call("GET", CHAT, key)).json()
    assert (fresh["version"], fresh["own"], fresh["settings"]["history_entries"]) == (0, {}, 512)
    made = await put(rest, key, "chat", {"history_entries": 5, "wildcard": True})
    assert (made["version"], made["settings"]["history_entries"], made["settings"]["wildcard"]) == (1, 5, True)
    changed = await rest.call("PATCH", CHAT, key, body={"history_entries": None, "presence": False})
    assert (changed.json()["own"], changed.headers["ETag"]) == ({"wildcard": True, "presence": False}, '"2"')
    assert (await put(rest, key, "chat", {}))["own"] == {}
    assert (await rest.call("DELETE", CHAT, key)).status == 204
    (await rest.call("DELETE", CHAT, key)).error(404, "RESOURCE_NOT_FOUND")
    again = await put(rest, key, "chat", {"history_seconds": 60})
    assert (again["version"], again["settings"]["history_entries"]) == (5, 512)


async def test_own_namespace_is_made_by_put_and_gone_by_delete(rest: RestServer, key: str):
    prices = "/v2/namespaces/prices"
    for method in ("GET", "PATCH", "DELETE"):
        body = {} if method == "PATCH" else None
        (await rest.call(method, prices, key, body=body)).error(404, "RESOURCE_NOT_FOUND")
    await put(rest, key, "prices", {})
    assert (await rest.call("GET", prices, key)).status == 200
    assert (await rest.call("DELETE", prices, key)).status == 204
    (await rest.call("GET", prices, key)).error(404, "RESOURCE_NOT_FOUND")


async def test_condition_names_the_version(rest: RestServer, key: str):
    """Also 0, of what nobody has set; of two who have read the same, one writes."""
    headers = {"If-Match": (await rest.call("GET", CHAT, key)).headers["ETag"]}
    answers = await asyncio.gather(
        *(rest.call("PUT", CHAT, key, body={"history_entries": number}, headers=headers) for number in (1, 2, 3))
    )
    assert sorted(answer.status for answer in answers) == [200, 412, 412]
    (await rest.call("DELETE", CHAT, key, headers=headers)).error(412, "PRECONDITION_FAILED")


@pytest.mark.parametrize(
    ("name", "body", "wrong"),
    [
        ("chat", {"history_entries": 0}, ("history_entries", "VALUE_OUT_OF_RANGE")),
        ("chat", {"history_seconds": 8 * 24 * 3600}, ("history_seconds", "VALUE_OUT_OF_RANGE")),
        ("chat", {"message_bytes": 1 << 20}, ("message_bytes", "VALUE_OUT_OF_RANGE")),
        ("chat", {"publish_scope": "write:everything"}, ("publish_scope", "INVALID_FORMAT")),
        ("chat", {"history_entries": "5"}, ("history_entries", "INVALID_FORMAT")),
        ("chat", {"delivery": "latest"}, ("delivery", "NOT_CHANGEABLE")),
        ("runs", {"message_bytes": 5}, ("message_bytes", "NOT_CHANGEABLE")),
        ("telemetry", {"publish_scope": "write:twins"}, ("publish_scope", "NOT_CHANGEABLE")),
        ("agents", {"presence": True}, ("presence", "NOT_CHANGEABLE")),
        ("prices", {"delivery": "newest"}, ("delivery", "INVALID_FORMAT")),
    ],
    ids=[
        "no entries",
        "too long",
        "too large",
        "no scope",
        "text",
        "fixed way",
        "fixed size",
        "fixed scope",
        "of the log",
        "no way",
    ],
)
async def test_what_cannot_be_set_is_named(
    rest: RestServer, key: str, name: str, body: dict[str, Any], wrong: tuple[str, str]
):
    """And nothing is set."""
    error = (await rest.call("PUT", f"/v2/namespaces/{name}", key, body=body)).error(422, "VALIDATION_ERROR")
    assert [(each["field"], each["code"]) for each in error["details"]] == [wrong]
    listed = (await rest.call("GET", "/v2/namespaces?per_page=100", key)).json()["data"]
    assert {each["version"] for each in listed} == {0}


@pytest.mark.parametrize("name", ["agent", "Prices", "a", "keys", "x" * 33, "twins%2Fother", "sub.scriptions"])
async def test_names_that_cannot_be_are_not_there(rest: RestServer, key: str, name: str):
    (await rest.call("PUT", f"/v2/namespaces/{name}", key, body={})).error(404, "RESOURCE_NOT_FOUND")


async def test_who_is_no_administrator_sets_nothing(rest: RestServer, organisation: Organisation):
    """Nor does a credential for some resources only."""
    poor = await organisation.key(["write:streams", "moderate:streams"])
    some = await organisation.key(resource_ids=[])
    for method, body in (("GET", None), ("PUT", {}), ("PATCH", {}), ("DELETE", None)):
        (await rest.call(method, CHAT, poor, body=body)).error(403, "INSUFFICIENT_SCOPE")
        (await rest.call(method, CHAT, some, body=body)).error(403, "FORBIDDEN")


async def test_changes_stand_in_the_audit_by_name(rest: RestServer, key: str):
    await put(rest, key, "chat", {"history_entries": 5})
    assert (await rest.call("POST", "/v2/chats/lobby/mutes", key, body={"subject": "ada"})).status == 200
    entries = (await rest.call("GET", "/v2/audit", key)).json()["data"]
    targets = {each["operation"]: each["target"] for each in entries}
    assert targets["namespaces.replace"] == "namespaces/chat"
    assert targets["chats.mute"] == "chats/lobby/mutes/ada"


async def test_mutes_take_each_others_place_and_are_listed(rest: RestServer, key: str):
    """One of a kind holds; a ban stands beside a mute."""
    for kind, seconds in (("mutes", 10), ("mutes", 20), ("bans", None)):
        body = {"subject": "ada"} if seconds is None else {"subject": "ada", "seconds": seconds}
        assert (await rest.call("POST", f"/v2/chats/lobby/{kind}", key, body=body)).status == 200
    listed = (await rest.call("GET", "/v2/chats/lobby/sanctions", key)).json()
    assert [each["kind"] for each in listed["data"]] == ["ban", "mute"]
    assert listed["data"][0]["ends_at"] is None
    only = (await rest.call("GET", "/v2/chats/lobby/sanctions?kind=mute&subject=bob", key)).json()
    assert (only["data"], only["pagination"]["total"]) == ([], 0)
    assert (await rest.call("GET", "/v2/chats/other/sanctions", key)).json()["data"] == []
    (await rest.call("POST", "/v2/chats/a b/mutes", key, body={"subject": "ada"})).error(404, "RESOURCE_NOT_FOUND")
