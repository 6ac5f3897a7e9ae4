"""Namespaces that are set while streams are open, on two nodes over real engines."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from core.settings import SettingsError
from handlers.namespaces.file import namespaces_of
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, serve


@pytest.fixture
async def nodes(database_url: str, redis_url: str, clock: ManualClock) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes that follow what is set."""
    async with (
        serve(database_url, redis_url, clock, spaces=True) as one,
        serve(database_url, redis_url, clock, spaces=True) as other,
    ):
        yield one, other


async def call(client: StreamClient, operation: str, **input: Any) -> Frame:
    """Run an operation, and return the answer."""
    return await client.ask({"type": "call", "operation": operation, "input": input})


async def put(client: StreamClient, name: str, **settings: Any) -> None:
    answer = await call(client, "namespaces.replace", id=name, body=settings)
    assert answer["type"] == "result", answer


async def publish(client: StreamClient, channel: str, data: Any, **more: Any) -> Frame:
    return await client.ask({"type": "publish", "channel": channel, "data": data, **more})


async def settled(node: Node, organisation: Organisation, name: str, **settings: Any) -> None:
    """Wait until a node goes by these settings."""

    def is_so() -> bool:
        rules = node.live.namespaces.of(organisation.id).get(name)
        return rules is not None and all(getattr(rules, each) == value for each, value in settings.items())

    await eventually(is_so, what=f"{name} {settings}")


@asynccontextmanager
async def opened(node: Node, *keys: str) -> AsyncGenerator[list[StreamClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node.open(key)) for key in keys]


async def test_own_namespace_is_there_on_every_node_and_for_nobody_else(
    nodes: tuple[Node, Node], key: str, organisation: Organisation, organisations: Organisations
):
    """Made by one node, joined and published into by another; deleted, its channels are left with an error."""
    one, other = nodes
    foreign = await (await organisations.create()).key()
    async with opened(one, key) as (admin,), opened(other, key, foreign) as (reader, stranger):
        assert "error" in (await reader.subscribe("prices:nyse"))["channels"][0]
        await put(admin, "prices", history_entries=7)
        await settled(other, organisation, "prices", history_entries=7)
        assert "error" not in (await reader.subscribe("prices:nyse"))["channels"][0]
        refused = (await stranger.subscribe("prices:nyse"))["channels"][0]
        assert refused["error"]["code"] == "CHANNEL_NOT_FOUND"
        await publish(admin, "prices:nyse", {"a": 1})
        (event,) = await reader.events(1)
        assert (event["event"]["type"], event["event"]["data"]) == ("prices.message", {"a": 1})
        assert (await call(admin, "namespaces.delete", id="prices"))["type"] == "result"
        left = await reader.expect("unsubscribed", channels=["prices:nyse"])
        assert left["error"]["code"] == "CHANNEL_NOT_FOUND"
        assert (await publish(admin, "prices:nyse", 1))["error"]["code"] == "CHANNEL_NOT_FOUND"


async def test_nothing_is_lost_or_doubled_while_rules_change(
    nodes: tuple[Node, Node], key: str, organisation: Organisation, organisations: Organisations
):
    """1,000 messages of an ordered channel, whose namespace is set again and again meanwhile, through both nodes."""
    one, other = nodes
    await organisations.limit(organisation, publishes_per_second=1_000_000)
    async with opened(one, key, key, key) as (admin, writer, near), opened(other, key) as (far,):
        await put(admin, "prices", history_entries=1_000)
        for node in nodes:
            await settled(node, organisation, "prices", history_entries=1_000)
        for reader in (near, far):
            assert "error" not in (await reader.subscribe("prices:a"))["channels"][0]

        async def write() -> None:
            for number in range(1_000):
                await writer.send({"type": "publish", "channel": "prices:a", "data": number})

        async def change() -> None:
            for round in range(20):
                await put(admin, "prices", history_entries=900 + round, history_seconds=60 + round, presence=True)
                await put(admin, "chat", history_entries=5 + round)

        await asyncio.gather(write(), change())
        for reader in (near, far):
            frames = await reader.events(1_000)
            assert [frame["event"]["data"] for frame in frames] == list(range(1_000))
            assert [frame["offset"] for frame in frames] == [str(offset) for offset in range(1, 1_001)]


async def test_delivery_can_be_switched_and_back(nodes: tuple[Node, Node], key: str, organisation: Organisation):
    """Who reads gets everything in either way, in order."""
    one, other = nodes
    async with opened(one, key, key) as (admin, writer), opened(other, key) as (reader,):
        sent = 0
        await put(admin, "prices")
        await settled(one, organisation, "prices")
        await settled(other, organisation, "prices")
        await reader.subscribe("prices:a")
        for settings in ({"delivery": "latest", "key": "s"}, {"delivery": "ordered"}, {"delivery": "latest"}):
            await put(admin, "prices", **settings)
            await settled(other, organisation, "prices", **settings)
            for _ in range(10):
                assert (await publish(writer, "prices:a", {"s": sent % 3, "number": sent}))["type"] == "result"
                sent += 1
                (frame,) = await reader.events(1)
                assert frame["offset"] == str(sent)


async def test_tightened_scope_puts_members_out(nodes: tuple[Node, Node], key: str, organisation: Organisation):
    """Whoever lacks the scope is told so, on the other node too; whoever has it stays."""
    one, other = nodes
    few = await organisation.key(["read:streams", "write:streams"])
    async with opened(one, key) as (admin,), opened(other, few, key) as (poor, rich):
        for each in (poor, rich):
            await each.subscribe("chat:a")
        await put(admin, "chat", read_scope="read:audit", publish_scope="write:audit")
        left = await poor.expect("unsubscribed", channels=["chat:a"])
        assert left["error"]["code"] == "INSUFFICIENT_SCOPE"
        assert (await publish(poor, "chat:a", 1))["error"]["code"] == "INSUFFICIENT_SCOPE"
        await publish(admin, "chat:a", 2)
        (frame,) = await rich.events(1)
        assert frame["event"]["data"] == 2


async def test_bounds_of_size_rate_membership_and_history(
    nodes: tuple[Node, Node], key: str, organisation: Organisation
):
    """Each is refused by its own code, and a cut history is seen with the next message."""
    one, _ = nodes
    async with opened(one, key) as (client,):
        await put(client, "prices", message_bytes=10, history_entries=2, members_only=True)
        await settled(one, organisation, "prices", message_bytes=10)
        assert (await publish(client, "prices:a", 1))["error"]["code"] == "FORBIDDEN"
        await client.subscribe("prices:a")
        assert (await publish(client, "prices:a", "x" * 20))["error"]["code"] == "PAYLOAD_TOO_LARGE"
        for number in range(4):
            await publish(client, "prices:a", number)
        history = await client.ask({"type": "history", "channel": "prices:a"})
        assert [each["event"]["data"] for each in history["result"]["events"]] == [2, 3]
        await put(client, "prices", organisation_publishes_per_second=1)
        await settled(one, organisation, "prices", organisation_publishes_per_second=1)
        answers = [await publish(client, "prices:b", number) for number in range(20)]
        assert {each["error"]["code"] for each in answers if each["type"] == "error"} == {"RATE_LIMIT_EXCEEDED"}


async def test_of_file_and_organisation_the_organisation_wins(
    database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation, tmp_path: Path
):
    """What neither sets is as it is built in; what the organisation gives back is as the file says."""
    file = tmp_path / "namespaces.toml"
    file.write_text('[chat]\nhistory_entries = 9\nhistory_seconds = 99\n[prices]\ndelivery = "latest"\nkey = "s"\n')
    async with serve(database_url, redis_url, clock, spaces=file) as node, node.open(key) as client:
        await put(client, "chat", history_entries=5)
        shown = (await call(client, "namespaces.get", id="chat"))["result"]
        assert (shown["origin"], shown["own"]) == ("built_in", {"history_entries": 5})
        assert (shown["settings"]["history_entries"], shown["settings"]["history_seconds"]) == (5, 99)
        await settled(node, organisation, "chat", history_entries=5, history_seconds=99, message_bytes=16384)
        await call(client, "namespaces.delete", id="chat")
        await settled(node, organisation, "chat", history_entries=9)
        shown = (await call(client, "namespaces.get", id="prices"))["result"]
        assert (shown["origin"], shown["version"], shown["settings"]["key"]) == ("file", 0, "s")
        assert "error" not in (await client.subscribe("prices:a"))["channels"][0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[chat", "is not TOML"),
        ("[chat]\nhistory_entries = 0\n", "[chat] history_entries"),
        ("[chat]\ncolour = 1\n", "[chat] colour"),
        ('[runs]\npublish_scope = "write:streams"\n', "[runs] publish_scope"),
        ('[Prices]\ndelivery = "latest"\n', "[Prices] A namespace"),
        ("chat = 1\n", "chat: it is no table"),
    ],
    ids=["no toml", "out of range", "unknown", "fixed", "bad name", "no table"],
)
def test_mistakes_of_the_file_are_named(tmp_path: Path, text: str, told: str):
    """The hub does not start with a file that it cannot follow."""
    file = tmp_path / "namespaces.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        namespaces_of(file)
    assert told in str(refused.value)
