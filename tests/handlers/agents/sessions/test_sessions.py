"""Sessions: made, listed, changed, removed; for whom they are there."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from handlers.agents.leaving import FORGET, KEPT_SECONDS
from tests.handlers.agents.sessions.talk import Talk
from tests.handlers.house import refused
from tests.harness.organisations import Organisations
from tests.harness.waiting import eventually


async def test_session_is_made_and_found(talk: Talk):
    """As it was made; the one that was used last is the first of the list."""
    agent = await talk.agent()
    one = await talk.run("sessions.create", id=agent, title=" Shoes ", metadata={"ticket": "4711"})
    assert (one["title"], one["metadata"], one["agent_id"], one["version"]) == ("Shoes", {"ticket": "4711"}, agent, 1)
    assert (one["head_id"], one["active_id"], one["created_by"]) == (None, None, talk.caller.subject)
    assert await talk.run("sessions.get", id=one["id"], agent=agent) == one
    two = await talk.run("sessions.create", id=agent)
    assert two["title"] is None
    await talk.say(one["id"], "Where are they?")
    listed = [orjson.loads(each) for each in (await talk.run("sessions.list", id=agent)).items]
    assert [each["id"] for each in listed] == [one["id"], two["id"]]
    assert listed[1] == two
    window = await talk.run("sessions.list", id=agent, limit=1, sort="-created_at")
    assert [orjson.loads(each)["id"] for each in window.items] == [two["id"]]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Hello", "Hello"),
        ("  How do I\n\ninstall it? ", "How do I install it?"),
        ("word " * 30, ("word " * 15).strip() + "…"),
        ("x" * 100, "x" * 79 + "…"),
    ],
    ids=["short", "two lines", "long", "one word"],
)
async def test_title_is_the_beginning_of_the_first_message(talk: Talk, given: str, kept: str):
    """Where none was given; one that was given stays, and so does the first one."""
    session = (await talk.session())["id"]
    await talk.say(session, given)
    await talk.say(session, "And then?")
    assert (await talk.run("sessions.get", id=session))["title"] == kept
    named = (await talk.session(title="Own"))["id"]
    await talk.say(named, given)
    assert (await talk.run("sessions.get", id=named))["title"] == "Own"


async def test_change_is_a_merge_patch_of_a_version(talk: Talk):
    """Under If-Match of the current version only; watchers are told."""
    made = await talk.session(title="A", metadata={"a": 1, "b": 2})
    body = {"title": "B", "metadata": {"a": None, "c": 3}}
    changed = await talk.run("sessions.update", id=made["id"], if_match='"1"', body=body)
    assert (changed["title"], changed["metadata"], changed["version"]) == ("B", {"b": 2, "c": 3}, 2)
    stale = await refused(talk.run("sessions.update", id=made["id"], if_match='"1"', body=body))
    assert stale.code == "PRECONDITION_FAILED"
    await eventually(lambda: len(talk.told.events) == 1)
    assert talk.told.events == [(f"sessions:{made['id']}", "session.updated", {"session": changed})]
    bare = await talk.run("sessions.update", id=made["id"], body={"title": None, "metadata": None})
    assert (bare["title"], bare["metadata"]) == (None, {})


@pytest.mark.parametrize(
    "body",
    [{"head_id": str(uuid4())}, {"head_id": None}, {"head_id": "x"}, {"title": ""}, {"colour": "red"}],
    ids=["unknown", "none", "no id", "empty", "other"],
)
async def test_change_that_is_none_is_refused(talk: Talk, body: dict[str, Any]):
    made = await talk.session()
    assert (await refused(talk.run("sessions.update", id=made["id"], body=body))).code == "VALIDATION_ERROR"


async def test_deleted_session_takes_its_messages_with_it(talk: Talk):
    """And the run that was writing is cancelled."""
    session = (await talk.session())["id"]
    await talk.say(session, "Hello", answer=None)
    await talk.run("sessions.delete", id=session)
    assert (await refused(talk.run("sessions.get", id=session))).code == "RESOURCE_NOT_FOUND"
    assert await talk.rows("SELECT FROM messages") == []
    assert [row["status"] for row in await talk.rows("SELECT status FROM executions")] == ["cancelled"]
    # What it was asked and has said goes with it, once those who follow it have heard of its end.
    query = "SELECT kind, payload, extract(epoch FROM run_at - created_at)::int AS after FROM jobs WHERE kind = $1"
    (job,) = await talk.rows(query, FORGET)
    assert (orjson.loads(job["payload"]), job["after"]) == ({"session_id": session}, KEPT_SECONDS)


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("sessions.get", {}),
    ("sessions.update", {"body": {"title": "Mine"}}),
    ("sessions.delete", {}),
    ("sessions.messages", {}),
    ("sessions.send", {"text": "Hello"}),
    ("sessions.retry", {"message": str(uuid4())}),
    ("sessions.cancel", {}),
]


@pytest.mark.parametrize(("name", "data"), CALLS, ids=[name for name, _ in CALLS])
async def test_session_of_others_is_not_there(
    talk: Talk, organisations: Organisations, name: str, data: dict[str, Any]
):
    """For another organisation, below another agent, for a caller of another agent, with its agent gone, and under no id."""
    made = await talk.session()
    session = made["id"]
    other = await talk.agent()
    foreign = (await organisations.create()).caller()
    restricted = replace(talk.caller, resource_ids=frozenset({UUID(other)}))
    for attempt in (
        talk.run(name, foreign, id=session, **data),
        talk.run(name, id=session, agent=other, **data),
        talk.run(name, id=session, agent="x", **data),
        talk.run(name, restricted, id=session, **data),
        talk.run(name, id="x", **data),
        talk.run(name, id=str(uuid4()), **data),
    ):
        assert (await refused(attempt)).code == "RESOURCE_NOT_FOUND"
    await talk.run("agents.delete", id=made["agent_id"])
    assert (await refused(talk.run(name, id=session, **data))).code == "RESOURCE_NOT_FOUND"


async def test_agent_that_is_not_there_has_no_sessions(talk: Talk, organisations: Organisations):
    """Neither a list nor a new one."""
    agent = await talk.agent()
    foreign = (await organisations.create()).caller()
    for name in ("sessions.create", "sessions.list"):
        for attempt in (
            talk.run(name, foreign, id=agent),
            talk.run(name, replace(talk.caller, resource_ids=frozenset()), id=agent),
            talk.run(name, id="x"),
            talk.run(name, id=str(uuid4())),
        ):
            assert (await refused(attempt)).code == "RESOURCE_NOT_FOUND"


async def test_restricted_caller_talks_to_its_own_agent(talk: Talk):
    made = await talk.session()
    own = replace(talk.caller, resource_ids=frozenset({UUID(made["agent_id"])}))
    await talk.run("sessions.send", own, id=made["id"], text="Hello")
    page = await talk.run("sessions.messages", own, id=made["id"], agent=made["agent_id"])
    assert page.total == 1
