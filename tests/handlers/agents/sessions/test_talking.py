"""What is said in a session: its branches, one run at a time, and what is refused."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from core.errors import HubError
from handlers.agents.sessions import sending
from tests.handlers.agents.sessions.talk import Talk
from tests.handlers.house import refused
from tests.harness.waiting import eventually


async def test_messages_are_the_way_to_the_head(talk: Talk):
    """In their order, each with what it follows; by pages."""
    session = (await talk.session())["id"]
    for number in range(3):
        await talk.say(session, f"Question {number}", f"Answer {number}")
    shown = await talk.shown(session)
    assert [each["text"] for each in shown] == [f"{what} {n}" for n in range(3) for what in ("Question", "Answer")]
    assert [each["parent_id"] for each in shown] == [None, *(each["id"] for each in shown[:-1])]
    assert [each["role"] for each in shown] == ["user", "assistant"] * 3
    assert all(each["siblings"] == [each["id"]] for each in shown)
    assert shown[1]["execution_id"] is not None
    page = await talk.run("sessions.messages", id=session, page=2, per_page=4)
    assert (len(page.items), page.total) == (2, 6)
    beyond = await talk.run("sessions.messages", id=session, page=9)
    assert (beyond.items, beyond.total) == ([], 6)
    empty = await talk.run("sessions.messages", id=(await talk.session())["id"])
    assert (empty.items, empty.total) == ([], 0)


async def test_edited_message_is_a_branch(talk: Talk):
    """It follows what the first one followed; the head goes with it, and the other branch can be read and chosen."""
    session = (await talk.session())["id"]
    await talk.say(session, "One", "1")
    first = await talk.say(session, "Two", "2")
    parent = (await talk.shown(session))[2]["parent_id"]
    second = await talk.say(session, "Zwei", "II", parent_id=parent)
    shown = await talk.shown(session)
    assert [each["text"] for each in shown] == ["One", "1", "Zwei", "II"]
    assert shown[2]["siblings"] == [first, second]
    assert await talk.texts(session, branch=first) == ["One", "1", "Two", "2"]
    changed = await talk.run("sessions.update", id=session, body={"head_id": first})
    shown = await talk.shown(session)
    assert changed["head_id"] == shown[-1]["id"]
    assert [each["text"] for each in shown] == ["One", "1", "Two", "2"]
    unknown = await refused(talk.run("sessions.messages", id=session, branch=str(uuid4())))
    assert unknown.code == "RESOURCE_NOT_FOUND"


async def test_first_message_is_edited_too(talk: Talk):
    """With null for a parent."""
    session = (await talk.session())["id"]
    one = await talk.say(session, "One")
    two = await talk.say(session, "Uno", parent_id=None)
    assert await talk.texts(session) == ["Uno", "Yes."]
    assert (await talk.shown(session))[0]["siblings"] == [one, two]


async def test_retry_is_another_answer_to_the_same_message(talk: Talk):
    session = (await talk.session())["id"]
    message = await talk.say(session, "How?", "So.")
    await talk.run("sessions.retry", id=session, message=message)
    assert await talk.texts(session) == ["How?"]
    await talk.answer(session, "Or so.")
    shown = await talk.shown(session)
    assert [each["text"] for each in shown] == ["How?", "Or so."]
    assert len(shown[1]["siblings"]) == 2
    runs = await talk.rows("SELECT query, message_id FROM executions")
    assert [(row["query"], str(row["message_id"])) for row in runs] == [("How?", message)] * 2
    answer = await refused(talk.run("sessions.retry", id=session, message=shown[1]["id"]))
    assert answer.code == "RESOURCE_CONFLICT"
    nothing = await refused(talk.run("sessions.retry", id=session, message="x"))
    assert nothing.code == "RESOURCE_NOT_FOUND"


async def test_two_at_once_are_one_answer_and_a_refusal(talk: Talk):
    """Ten clients send at the same time: one message, one run; none of the others has left anything."""
    session = (await talk.session())["id"]

    async def send(number: int) -> str:
        try:
            await talk.run("sessions.send", id=session, text=f"From {number}")
        except HubError as error:
            return error.code
        return "sent"

    said = await asyncio.gather(*(send(number) for number in range(10)))
    assert sorted(said) == ["RESOURCE_LOCKED"] * 9 + ["sent"]
    assert len(await talk.rows("SELECT FROM messages")) == len(await talk.rows("SELECT FROM executions")) == 1


async def test_nothing_moves_the_head_while_an_answer_is_written(talk: Talk):
    """Neither a message, nor another answer, nor another branch; a title may change."""
    session = (await talk.session())["id"]
    message = await talk.say(session, "How?", answer=None)
    for attempt in (
        talk.run("sessions.send", id=session, text="And?"),
        talk.run("sessions.retry", id=session, message=message),
        talk.run("sessions.update", id=session, body={"head_id": message}),
    ):
        assert (await refused(attempt)).code == "RESOURCE_LOCKED"
    await talk.run("sessions.update", id=session, body={"title": "B"})
    await talk.run("sessions.cancel", id=session)
    await talk.say(session, "And?")
    assert (await refused(talk.run("sessions.cancel", id=session))).code == "RESOURCE_CONFLICT"


async def test_key_sends_once(talk: Talk):
    """A repeat has the same execution; the session has one message."""
    session = (await talk.session())["id"]
    first = await talk.outcome("sessions.send", None, "k", id=session, text="How?")
    again = await talk.outcome("sessions.send", None, "k", id=session, text="How?")
    assert (again.result, again.replayed) == (first.result, True)
    assert len(await talk.rows("SELECT FROM messages")) == 1


async def test_watchers_are_told(talk: Talk):
    """Of the message, then of the session whose head it is; of what is too long for the room by its id."""
    session = (await talk.session())["id"]
    await talk.say(session, "How?", attachments=[{"name": "a.txt", "text": "A"}])
    await talk.say(session, "x" * 60_000)
    await eventually(lambda: len(talk.told.events) == 4)
    (shown, _, long, _) = await talk.shown(session)
    said, updated, cut, _ = talk.told.events
    assert {channel for channel, _, _ in talk.told.events} == {f"sessions:{session}"}
    assert said[1:] == ("session.message", {"message": shown})
    assert (updated[1], updated[2]["session"]["head_id"]) == ("session.updated", shown["id"])
    assert cut[2] == {"message": {"id": long["id"], "session_id": session, "truncated": True}}


LONG = "x" * 65_537
BAD: dict[str, dict[str, Any]] = {
    "no text": {},
    "empty": {"text": " \n"},
    "nul": {"text": "a\x00"},
    "long": {"text": LONG},
    "a number": {"text": 1},
    "unknown parent": {"text": "A", "parent_id": str(uuid4())},
    "parent that is no id": {"text": "A", "parent_id": "x"},
    "nine attachments": {"text": "A", "attachments": [{"name": "a", "text": ""}] * 9},
    "too much attached": {"text": "A", "attachments": [{"name": "a", "text": "ü" * 70_000}] * 2},
    "a picture": {"text": "A", "attachments": [{"name": "a", "content_type": "image/png", "text": ""}]},
    "a name that leads away": {"text": "A", "attachments": [{"name": "../a", "text": ""}]},
    "nul attached": {"text": "A", "attachments": [{"name": "a", "text": "\x00"}]},
    "another field": {"text": "A", "role": "system"},
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
async def test_what_is_no_message_is_refused(talk: Talk, data: dict[str, Any]):
    """And has left nothing."""
    session = (await talk.session())["id"]
    assert (await refused(talk.run("sessions.send", id=session, **data))).code == "VALIDATION_ERROR"
    assert await talk.rows("SELECT FROM messages") == await talk.rows("SELECT FROM executions") == []


async def test_session_has_an_end(talk: Talk):
    """So many messages that the way through them is found quickly."""
    session = (await talk.session())["id"]
    await talk.rows(
        """
        INSERT INTO messages (org_id, id, session_id, role, text, attachments, citations, created_by, created_at)
        SELECT org_id, gen_random_uuid(), id, 'user', 'x', '[]', '[]', 'a', now() FROM sessions, generate_series(1, $1) RETURNING 1
        """,
        sending.MOST_MESSAGES,
    )
    assert (await refused(talk.run("sessions.send", id=session, text="A"))).code == "RESOURCE_CONFLICT"


async def test_page_has_an_end(talk: Talk):
    """Many long messages are asked for in smaller pages."""
    session = (await talk.session())["id"]
    for _ in range(35):
        await talk.say(session, "x", "y", attachments=[{"name": "a.txt", "text": "z" * 256 * 1024}])
    too_much = await refused(talk.run("sessions.messages", id=session, per_page=100))
    assert [detail.field for detail in too_much.details] == ["per_page"]
    assert len(await talk.shown(session, per_page=20)) == 20
