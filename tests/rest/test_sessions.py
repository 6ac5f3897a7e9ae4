"""Sessions over REST: paths, statuses, headers, and what a message is answered where nobody runs anything."""

from typing import Any

import pytest

from tests.harness.organisations import Organisations
from tests.rest.server import RestServer

ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def sessions(rest: RestServer, key: str) -> str:
    """The path of an agent's sessions."""
    made = await rest.call("POST", "/v2/agents", key, body={"name": "Ada"})
    return f"/v2/agents/{made.json()['id']}/sessions"


async def begun(rest: RestServer, key: str, sessions: str, **fields: Any) -> str:
    """Begin a session; returns its path."""
    return (await rest.call("POST", sessions, key, body=fields)).headers["Location"]


async def test_session_is_made_looked_at_changed_and_deleted(rest: RestServer, key: str, sessions: str):
    """With its place and its tag; nobody keeps an answer, since the head moves."""
    made = await rest.call("POST", sessions, key, body={"title": "Shoes", "metadata": {"ticket": "4711"}})
    assert made.status == 201
    path = f"{sessions}/{made.json()['id']}"
    assert (made.headers["Location"], made.headers["ETag"]) == (path, '"1"')
    found = await rest.call("GET", path, key)
    assert (found.json(), found.headers["ETag"], found.headers["Cache-Control"]) == (made.json(), '"1"', "no-store")
    changed = await rest.call("PATCH", path, key, body={"title": "Boots"}, headers={"If-Match": '"1"'})
    assert (changed.status, changed.json()["title"], changed.headers["ETag"]) == (200, "Boots", '"2"')
    stale = await rest.call("PATCH", path, key, body={"title": "Clogs"}, headers={"If-Match": '"1"'})
    stale.error(412, "PRECONDITION_FAILED")
    listed = await rest.call("GET", f"{sessions}?sort=-created_at&filter[title]=Boots", key)
    assert (listed.json()["data"], listed.json()["pagination"]["total"]) == ([changed.json()], 1)
    (await rest.call("DELETE", path, key, headers={"If-Match": '"1"'})).error(412, "PRECONDITION_FAILED")
    assert (await rest.call("DELETE", path, key)).status == 204
    (await rest.call("GET", path, key)).error(404, "RESOURCE_NOT_FOUND")


async def test_unversioned_path_has_a_place_below_its_version(rest: RestServer, key: str, sessions: str):
    made = await rest.call("POST", sessions.removeprefix("/v2"), key, body={})
    assert made.headers["Location"] == f"{sessions}/{made.json()['id']}"


async def test_message_is_answered_by_where_its_execution_is(rest: RestServer, key: str, sessions: str):
    """202 for who would rather not wait; the session names it, and takes no other message until it is stopped."""
    session = await begun(rest, key, sessions)
    sent = await rest.call("POST", f"{session}/messages", key, body={"text": "Hello"}, headers=ASYNC)
    assert (sent.status, sent.headers["Location"]) == (202, f"/v2/executions/{sent.json()['id']}")
    shown = (await rest.call("GET", f"{session}/messages", key)).json()
    (message,) = shown["data"]
    assert (message["text"], message["id"], shown["pagination"]["total"]) == ("Hello", sent.json()["message_id"], 1)
    found = (await rest.call("GET", session, key)).json()
    assert (found["active_id"], found["head_id"], found["title"]) == (sent.json()["id"], message["id"], "Hello")
    locked = await rest.call("POST", f"{session}/messages", key, body={"text": "And?"}, headers=ASYNC)
    locked.error(409, "RESOURCE_LOCKED")
    stopped = await rest.call("POST", f"{session}/cancel", key)
    assert (stopped.status, stopped.json()["status"]) == (200, "cancelled")
    (await rest.call("POST", f"{session}/cancel", key)).error(409, "RESOURCE_CONFLICT")
    again = await rest.call("POST", f"{session}/messages/{message['id']}/retry", key, headers=ASYNC)
    assert (again.status, again.json()["message_id"]) == (202, message["id"])


async def test_edited_message_is_a_branch_that_can_be_read(rest: RestServer, key: str, sessions: str):
    session = await begun(rest, key, sessions)
    ids = list[str]()
    for text in ("One", "Uno"):
        body = {"text": text, "parent_id": None}
        sent = await rest.call("POST", f"{session}/messages", key, body=body, headers=ASYNC)
        ids.append(sent.json()["message_id"])
        await rest.call("POST", f"{session}/cancel", key)
    (shown,) = (await rest.call("GET", f"{session}/messages?per_page=1&page=1", key)).json()["data"]
    assert (shown["text"], shown["siblings"]) == ("Uno", ids)
    (other,) = (await rest.call("GET", f"{session}/messages?branch={ids[0]}", key)).json()["data"]
    assert other["text"] == "One"
    chosen = await rest.call("PATCH", session, key, body={"head_id": ids[0]})
    assert chosen.json()["head_id"] == ids[0]


async def test_key_makes_one_message(rest: RestServer, key: str, sessions: str):
    session = await begun(rest, key, sessions)
    under = {**ASYNC, "Idempotency-Key": "k"}
    sent = [await rest.call("POST", f"{session}/messages", key, body={"text": "A"}, headers=under) for _ in range(2)]
    assert sent[0].json()["id"] == sent[1].json()["id"]
    assert sent[1].headers["Idempotent-Replayed"] == "true"
    assert (await rest.call("GET", f"{session}/messages", key)).json()["pagination"]["total"] == 1


WRONG: dict[str, tuple[str, str, Any, int]] = {
    "no session": ("GET", "/x", None, 404),
    "name that cannot be one": ("GET", "/%00", None, 404),
    "messages of none": ("GET", "/01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55/messages", None, 404),
    "unknown query": ("GET", "?colour=red", None, 400),
    "title of another type": ("POST", "", {"title": 1}, 422),
    "unknown field": ("POST", "", {"name": "A"}, 422),
    "sorted by what it has not": ("GET", "?sort=colour", None, 400),
}


@pytest.mark.parametrize(("method", "path", "body", "status"), WRONG.values(), ids=WRONG.keys())
async def test_what_is_wrong_is_said(
    rest: RestServer, key: str, sessions: str, method: str, path: str, body: Any, status: int
):
    answer = await rest.call(method, f"{sessions}{path}", key, body=body)
    assert answer.status == status, answer.body


async def test_session_is_for_its_organisation_and_its_readers(
    rest: RestServer, key: str, sessions: str, organisations: Organisations
):
    """404 for another organisation, below another agent; who may only read says nothing."""
    session = await begun(rest, key, sessions)
    organisation = await organisations.create()
    foreign = await organisation.key()
    other = (await rest.call("POST", "/v2/agents", key, body={"name": "Bob"})).json()["id"]
    elsewhere = f"/v2/agents/{other}/sessions/{session.rpartition('/')[2]}"
    for path, who in ((session, foreign), (f"{session}/messages", foreign), (elsewhere, key), (sessions, foreign)):
        (await rest.call("GET", path, who)).error(404, "RESOURCE_NOT_FOUND")
    for path, who in ((f"{session}/messages", foreign), (f"{elsewhere}/messages", key)):
        (await rest.call("POST", path, who, body={"text": "A"})).error(404, "RESOURCE_NOT_FOUND")
    reader = await organisation.key(["read:agents"])
    (await rest.call("POST", f"{session}/messages", reader, body={"text": "A"})).error(403, "INSUFFICIENT_SCOPE")
