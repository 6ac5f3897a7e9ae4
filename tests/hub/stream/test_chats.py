"""Chats over real sockets and engines, on two nodes: typing, changed and removed messages, mutes and bans."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, serve

pytestmark = pytest.mark.each_redis
PERSON = ("read:streams", "write:streams")
CHAT = "chat:lobby"


@pytest.fixture
async def nodes(database_url: str, redis_url: str, clock: ManualClock) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes that follow what is set."""
    async with (
        serve(database_url, redis_url, clock, spaces=True) as one,
        serve(database_url, redis_url, clock, spaces=True) as other,
    ):
        yield one, other


async def call(client: StreamClient, operation: str, **input: Any) -> Frame:
    return await client.ask({"type": "call", "operation": operation, "input": {"id": "lobby", **input}})


async def publish(client: StreamClient, data: Any, **more: Any) -> Frame:
    return await client.ask({"type": "publish", "channel": CHAT, "data": data, **more})


async def said(client: StreamClient, data: Any) -> str:
    """Publish, and return the message's id."""
    answer = await publish(client, data)
    assert answer["type"] == "result", answer
    return answer["result"]["event_id"]


async def history(client: StreamClient) -> list[Frame]:
    answer = await client.ask({"type": "history", "channel": CHAT})
    return [each["event"] for each in answer["result"]["events"]]


async def came(client: StreamClient, count: int) -> list[Frame]:
    """Return all event frames that have come, `count` of them: some may have come before an answer."""
    while len(found := [frame for frame in client.frames if frame["type"] == "event"]) < count:
        await client.receive()
    assert len(found) == count, found
    return found


def code(answer: Frame) -> str:
    assert answer["type"] == "error", answer
    return answer["error"]["code"]


async def test_typing_is_heard_and_kept_by_nobody(nodes: tuple[Node, Node], organisation: Organisation):
    """A signal has no offset, comes to members of every node, and is bounded in size and rate."""
    one, other = nodes
    ada = await organisation.key(PERSON)
    async with one.open(ada) as writer, other.joined(ada, CHAT) as reader:
        subject = (await writer.receive())["subject"]
        answer = await publish(writer, {"typing": True}, ephemeral=True)
        assert set(answer["result"]) == {"event_id"}
        signal = await reader.expect("signal")
        assert "offset" not in signal
        assert (signal["channel"], signal["event"]["type"], signal["event"]["source"]) == (CHAT, "chat.signal", subject)
        assert signal["event"]["data"] == {"typing": True}
        assert await history(writer) == []
        await said(writer, 1)
        (event,) = await reader.events(1)
        assert event["offset"] == "1"
        assert code(await publish(writer, "x" * 2_000, ephemeral=True)) == "PAYLOAD_TOO_LARGE"
        answers = [await publish(writer, number, ephemeral=True) for number in range(12)]
        assert {code(each) for each in answers if each["type"] == "error"} == {"RATE_LIMIT_EXCEEDED"}


async def test_own_message_is_changed(nodes: tuple[Node, Node], organisation: Organisation):
    """Members hear of it, the history and who comes back see it; of several changes the last holds."""
    one, other = nodes
    ada = await organisation.key(PERSON)
    async with one.joined(ada, CHAT) as writer, other.joined(ada, CHAT) as reader:
        id = await said(writer, {"text": "Helo"})
        for revision, text in ((1, "Hello"), (2, "Hello!")):
            answer = await call(writer, "chats.edit", message=id, body={"data": {"text": text}})
            assert (answer["result"]["revision"], answer["result"]["offset"]) == (revision, "1")
        frames = await reader.events(3)
        assert [frame["event"]["type"] for frame in frames] == ["chat.message", "chat.edited", "chat.edited"]
        assert frames[-1]["event"]["data"] == {"id": id, "offset": "1", "revision": 2, "data": {"text": "Hello!"}}
        for client in (writer, reader):
            first = (await history(client))[0]
            assert (first["id"], first["data"], first["revision"]) == (id, {"text": "Hello!"}, 2)
        epoch = (await reader.subscribe(CHAT))["channels"][0]["epoch"]
        async with other.open(ada) as returning:
            await returning.subscribe({"channel": CHAT, "offset": "0", "epoch": epoch})
            (first, *_) = await returning.events(3)
            assert first["event"]["data"] == {"text": "Hello!"}


async def test_messages_of_others_are_removed_by_who_moderates(nodes: tuple[Node, Node], organisation: Organisation):
    """The history keeps an empty place; nobody else may, and what is removed stays so."""
    one, other = nodes
    ada, bob = await organisation.key(PERSON), await organisation.key(PERSON)
    watch = await organisation.key(["read:streams", "moderate:streams"])
    async with one.open(ada) as writer, one.open(bob) as stranger, other.joined(watch, CHAT) as moderator:
        moderating = moderator.frames[0]["subject"]
        id = await said(writer, {"text": "A rude word"})
        await said(writer, {"text": "Another"})
        for operation, more in (("chats.delete", {}), ("chats.edit", {"body": {"data": 1}})):
            assert code(await call(stranger, operation, message=id, **more)) == "FORBIDDEN"
        assert code(await call(moderator, "chats.edit", message=id, body={"data": 1})) in (
            "FORBIDDEN",
            "INSUFFICIENT_SCOPE",
        )
        for _ in range(2):
            assert (await call(moderator, "chats.delete", message=id))["type"] == "result"
        deleted = (await came(moderator, 4))[2]["event"]
        assert deleted["type"] == "chat.deleted"
        assert deleted["data"] == {"id": id, "offset": "1", "revision": 1, "by": moderating}
        shown = await history(writer)
        assert (shown[0]["data"], shown[0]["deleted"], shown[0]["deleted_by"]) == (None, True, moderating)
        assert shown[1]["data"] == {"text": "Another"}
        assert code(await call(writer, "chats.edit", message=id, body={"data": 1})) == "RESOURCE_NOT_FOUND"
        assert code(await call(moderator, "chats.delete", message=str(uuid4()))) == "RESOURCE_NOT_FOUND"
        assert code(await call(moderator, "chats.delete", message=deleted["id"])) == "RESOURCE_NOT_FOUND"


async def test_mute_and_its_end(nodes: tuple[Node, Node], key: str, organisation: Organisation):
    """Who is muted reads on and is refused on every node, until it is lifted."""
    one, other = nodes
    ada = await organisation.key(PERSON)
    async with one.open(key) as moderator, other.joined(ada, CHAT) as muted:
        subject = muted.frames[0]["subject"]
        answer = await call(moderator, "chats.mute", body={"subject": subject, "seconds": 3600, "reason": "Shouts"})
        sanction = answer["result"]
        assert (sanction["kind"], sanction["subject"], sanction["chat"]) == ("mute", subject, "lobby")

        async def is_refused() -> bool:
            return (await publish(muted, 1))["type"] == "error"

        await eventually(is_refused)
        assert code(await publish(muted, 1)) == "MUTED"
        assert code(await publish(muted, 1, ephemeral=True)) == "MUTED"
        seen = len(await history(moderator))
        await said(moderator, "Better")
        assert (await muted.expect("event"))["channel"] == CHAT
        listed = (await call(moderator, "chats.sanctions"))["result"]["data"]
        assert [each["id"] for each in listed] == [sanction["id"]]
        assert (await call(moderator, "chats.lift", sanction=sanction["id"]))["type"] == "result"
        assert code(await call(moderator, "chats.lift", sanction=sanction["id"])) == "RESOURCE_NOT_FOUND"

        async def is_heard() -> bool:
            return (await publish(muted, 2))["type"] == "result"

        await eventually(is_heard)
        assert len(await history(moderator)) >= seen + 2


async def test_ban_puts_out_on_every_node_and_lasts(
    nodes: tuple[Node, Node],
    key: str,
    organisation: Organisation,
    database_url: str,
    redis_url: str,
    clock: ManualClock,
):
    """Whoever is banned is told so, may not join, read or publish; a node that starts later knows it too."""
    one, other = nodes
    ada, bob = await organisation.key(PERSON), await organisation.key(PERSON)
    async with one.open(key) as moderator, one.joined(ada, CHAT) as here, other.joined(ada, CHAT, "chat:b") as there:
        subject = there.frames[0]["subject"]
        async with other.joined(bob, CHAT) as innocent:
            assert (await call(moderator, "chats.ban", body={"subject": subject}))["type"] == "result"
            for banned in (here, there):
                left = await banned.expect("unsubscribed", channels=[CHAT])
                assert left["error"]["code"] == "BANNED"
                assert (await banned.subscribe(CHAT))["channels"][0]["error"]["code"] == "BANNED"
                assert code(await publish(banned, 1)) == "BANNED"
                assert code(await banned.ask({"type": "history", "channel": CHAT})) == "BANNED"
            await said(moderator, "Hello")
            (frame,) = await innocent.events(1)
            assert frame["event"]["data"] == "Hello"
        answer = await there.ask({"type": "publish", "channel": "chat:b", "data": 1})
        assert answer["type"] == "result"
        async with serve(database_url, redis_url, clock, spaces=True) as later, later.open(ada) as again:
            assert (await again.subscribe(CHAT))["channels"][0]["error"]["code"] == "BANNED"


async def test_ban_ends_with_its_time(nodes: tuple[Node, Node], key: str, organisation: Organisation):
    """Nobody has to lift it."""
    one, other = nodes
    ada = await organisation.key(PERSON)
    async with one.open(key) as moderator, other.joined(ada, CHAT) as banned:
        subject = banned.frames[0]["subject"]
        await call(moderator, "chats.ban", body={"subject": subject, "seconds": 1})
        await banned.expect("unsubscribed", channels=[CHAT])

        async def is_back() -> bool:
            return "error" not in (await banned.subscribe(CHAT))["channels"][0]

        await eventually(is_back)


async def test_who_does_not_moderate_moderates_nothing(
    nodes: tuple[Node, Node], organisation: Organisation, organisations: Organisations
):
    """Neither without the scope, nor as another organisation, whose chats of the same name are others."""
    one, _ = nodes
    ada, foreign = await organisation.key(PERSON), await (await organisations.create()).key()
    async with one.joined(ada, CHAT) as person, one.open(foreign) as stranger:
        subject = person.frames[0]["subject"]
        id = await said(person, 1)
        for operation in ("chats.mute", "chats.ban"):
            assert code(await call(person, operation, body={"subject": subject})) == "INSUFFICIENT_SCOPE"
        assert code(await call(stranger, "chats.delete", message=id)) == "RESOURCE_NOT_FOUND"
        assert (await call(stranger, "chats.ban", body={"subject": subject}))["type"] == "result"
        assert (await publish(person, 2))["type"] == "result"
        for body in (
            {"subject": ""},
            {"subject": "a\n"},
            {"subject": "a", "seconds": 0},
            {"subject": "a", "x": 1},
            {"subject": "a", "reason": "\0"},
            {},
        ):
            assert code(await call(stranger, "chats.ban", body=body)) == "VALIDATION_ERROR"
