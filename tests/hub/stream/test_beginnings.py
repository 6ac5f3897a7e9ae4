"""Rooms of answers over real sockets: what was said so far, then what follows, and who may know of it."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from core.clock import SystemClock
from hub.stream.fanout import Fanout
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import END_SECONDS
from tests.hub.stream.node import Node, serve
from tests.rooms.answering import Keeper, Reader, Writer


@pytest.fixture
def keeper() -> Keeper:
    return Keeper(random.Random(1))


@pytest.fixture
def fanout() -> Fanout:
    return Fanout()


@pytest.fixture
async def node(
    database_url: str, redis_url: str, clock: ManualClock, keeper: Keeper, fanout: Fanout
) -> AsyncIterator[Node]:
    """A node that is told what was said so far."""
    async with serve(database_url, redis_url, clock, beginnings=keeper, fanout=fanout) as served:
        yield served


@pytest.fixture
def writer(node: Node, keeper: Keeper, organisation: Organisation) -> Writer:
    return Writer(node.live, keeper, organisation.id, f"runs:{uuid4()}", random.Random(2))


async def read_on(client: StreamClient, reader: Reader) -> None:
    """Read until the answer is whole."""
    while not reader.is_done:
        frame = await client.receive()
        if frame["type"] == "event":
            reader.take(frame["event"])


def item_of(answer: Frame) -> dict[str, Any]:
    (item,) = answer["channels"]
    return item


def kinds(frames: Sequence[Frame]) -> list[str]:
    """Return what came, events by their type."""
    return [frame["event"]["type"] if frame["type"] == "event" else frame["type"] for frame in frames]


@pytest.mark.parametrize("subprotocol", ["aimatrix.json", "aimatrix.msgpack"], ids=["json", "msgpack"])
async def test_snapshot_comes_first_whenever_one_joins(node: Node, key: str, writer: Writer, subprotocol: str):
    """Right after `subscribed`, whose offset it has; then what follows, without a gap or a double."""
    node.subprotocols = [subprotocol]
    async with AsyncExitStack() as stack, asyncio.timeout(END_SECONDS), asyncio.TaskGroup() as tasks:
        clients = [await stack.enter_async_context(node.open(key)) for _ in range(12)]
        readers = [Reader() for _ in clients]
        await writer.start()
        for client, reader in zip(clients, readers, strict=True):
            await client.send({"type": "subscribe", "channels": [writer.channel]})
            tasks.create_task(read_on(client, reader))
            await writer.write(5)
        await writer.end()
    for client, reader in zip(clients, readers, strict=True):
        assert (reader.text, reader.gaps, reader.doubles) == (writer.text, 0, 0)
        assert kinds(client.frames)[:3] == ["welcome", "subscribed", "run.snapshot"]
        assert client.frames[2]["offset"] == item_of(client.frames[1])["offset"]


async def test_answer_that_is_whole_is_told_at_once(node: Node, key: str, writer: Writer):
    """Its text and its status."""
    await writer.start()
    await writer.write(3)
    await writer.end()
    async with node.joined(key, writer.channel) as client:
        (frame,) = await client.events(1)
        assert frame["event"]["data"]["text"] == writer.text
        assert frame["event"]["data"]["status"] == "completed"
        await client.quiet()


async def test_large_answer_is_told_to_many(node: Node, key: str, writer: Writer):
    """A text of 256 KiB, to those that join, and as an event of the room."""
    await writer.start()
    writer.text, writer.sequence = "ü" * (128 * 1024), 1
    writer.keep()
    async with node.joined(key, writer.channel) as client:
        await client.expect("event")
        whole = {"sequence": 1, "text": writer.text, "status": "running", "action": None}
        await writer.say("run.snapshot", whole)
        frame = await client.expect("event")
        assert len(frame["event"]["data"]["text"]) == 128 * 1024


async def test_offset_that_can_be_honoured_brings_what_was_missed(node: Node, key: str, writer: Writer):
    """And no snapshot: nothing is missing."""
    await writer.start()
    await writer.write(4)
    async with node.open(key) as client:
        wanted = {"channel": writer.channel, "offset": "2", "epoch": writer.at.epoch}
        assert item_of(await client.subscribe(wanted))["recovered"]
        assert kinds(await client.events(3)) == ["run.delta"] * 3
        await client.quiet()


async def test_offset_that_is_gone_is_reset_before_the_snapshot(node: Node, key: str, writer: Writer):
    """The reader keeps nothing of before."""
    await writer.start()
    await writer.write(4)
    async with node.open(key) as client:
        answer = await client.subscribe({"channel": writer.channel, "offset": "2", "epoch": "another"})
        assert not item_of(answer)["recovered"]
        await client.expect("event")
        assert kinds(client.frames)[-3:] == ["subscribed", "reset", "run.snapshot"]
        assert client.frames[-2]["offset"] == item_of(answer)["offset"]


async def test_session_in_which_nothing_is_written_has_no_snapshot(
    node: Node, key: str, keeper: Keeper, organisation: Organisation
):
    """What is said from now on comes."""
    channel = f"sessions:{uuid4()}"
    keeper.runs[channel] = None
    async with node.joined(key, channel) as client:
        await client.quiet()
        await node.live.publish(organisation.id, channel, "session.message", b'{"message":{}}', source="test")
        assert kinds(await client.events(1)) == ["session.message"]


class TestWho:
    """What there is not, and what is not for the caller, cannot be told apart."""

    async def test_no_such_room(self, node: Node, key: str, writer: Writer, organisations: Organisations):
        """At once, though other refusals are tried again."""
        await writer.start()
        other = await (await organisations.create()).key()
        for credential, channel in ((key, f"runs:{uuid4()}"), (other, writer.channel)):
            async with node.open(credential) as client:
                assert item_of(await client.subscribe(channel))["error"]["code"] == "CHANNEL_NOT_FOUND"
                history = await client.ask({"type": "history", "channel": channel})
                assert history["error"]["code"] == "CHANNEL_NOT_FOUND"

    async def test_restricted_caller_reads_what_its_agents_write(
        self, node: Node, writer: Writer, organisation: Organisation
    ):
        """The agent counts, not the execution."""
        await writer.start()
        for id, is_refused in ((writer.kept.agent_id, False), (uuid4(), True)):
            async with node.open(await organisation.key(resource_ids=[id])) as client:
                assert ("error" in item_of(await client.subscribe(writer.channel))) is is_refused
                history = await client.ask({"type": "history", "channel": writer.channel})
                assert ("error" in history) is is_refused
        async with node.open(await organisation.key(["read:twins"])) as client:
            assert item_of(await client.subscribe(writer.channel))["error"]["code"] == "INSUFFICIENT_SCOPE"

    async def test_credential_that_loses_the_agent_loses_the_room(
        self, node: Node, writer: Writer, organisation: Organisation
    ):
        """Looked at when it is renewed."""
        await writer.start()
        key = await organisation.key(resource_ids=[writer.kept.agent_id])
        async with node.joined(key, writer.channel) as client:
            await client.expect("event")
            await client.authenticate(key)
            await client.quiet()
            writer.kept.agent_id = uuid4()
            assert (await client.authenticate(key))["type"] == "welcome"
            lost = await client.expect("unsubscribed")
            assert (lost["channels"], lost["error"]["code"]) == ([writer.channel], "CHANNEL_NOT_FOUND")

    async def test_who_keeps_it_is_away(self, node: Node, key: str, writer: Writer, keeper: Keeper, clock: ManualClock):
        """Waited for, as other sources are; then the channel is refused."""
        await writer.start()
        keeper.away = True
        async with node.open(key) as client:
            await client.send({"id": "s", "type": "subscribe", "channels": [writer.channel]})
            answer = asyncio.create_task(client.expect("subscribed"))
            while not answer.done():
                await clock.advance(1)
            assert item_of(answer.result())["error"]["code"] == "SERVICE_UNAVAILABLE"


class TestReset:
    """After any reset each member is told anew."""

    async def test_members_of_a_room_that_was_reset(
        self, node: Node, key: str, writer: Writer, organisation: Organisation, fanout: Fanout
    ):
        """Those that were live; then they go on."""
        await writer.start()
        await writer.write(3)
        async with AsyncExitStack() as stack, asyncio.timeout(END_SECONDS):
            clients = [await stack.enter_async_context(node.joined(key, writer.channel)) for _ in range(3)]
            readers = [Reader() for _ in clients]
            for client, reader in zip(clients, readers, strict=True):
                reader.take((await client.expect("event"))["event"])
            writer.keep()
            offset, epoch = writer.at.offset or 0, writer.at.epoch or ""
            fanout.reset_room(organisation.id, writer.channel, epoch, offset, "history")
            await writer.write(3)
            await writer.end()
            for client, reader in zip(clients, readers, strict=True):
                await read_on(client, reader)
                at = kinds(client.frames).index("reset")
                assert kinds(client.frames)[at : at + 2] == ["reset", "run.snapshot"]
                assert (reader.text, reader.gaps) == (writer.text, 0)

    async def test_redis_that_starts_anew_in_the_middle(
        self, database_url: str, own_redis: OwnRedis, key: str, keeper: Keeper, organisation: Organisation
    ):
        """With what it held, and without: everyone has the whole answer."""
        async with (
            serve(database_url, own_redis.url, SystemClock(), beginnings=keeper) as node,
            AsyncExitStack() as stack,
            asyncio.timeout(END_SECONDS),
            asyncio.TaskGroup() as tasks,
        ):
            writer = Writer(node.live, keeper, organisation.id, f"runs:{uuid4()}", random.Random(3))
            await writer.start()
            readers = [Reader() for _ in range(6)]
            for part, reader in enumerate(readers):
                client = await stack.enter_async_context(node.joined(key, writer.channel))
                for frame in client.frames:
                    if frame["type"] == "event":
                        reader.take(frame["event"])
                tasks.create_task(read_on(client, reader))
                await writer.write(20)
                if part in (2, 4):
                    own_redis.restart(empty=part == 2)
            await writer.end()
        assert [reader.text for reader in readers] == [writer.text] * len(readers)
