"""Presence over real sockets and engines: who is seen, what is heard, lists, data, graces, refusals."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from core.store.redis import connect_redis
from rooms.live_rules import LIVE
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, serve

HEARD = {"channel": "chat:lobby", "presence": True}


class Room:
    """What one client knows of a room, by docs/presence.md alone."""

    def __init__(self, client: StreamClient, version: str) -> None:
        self.client = client
        self.members: dict[str, Mapping[str, Any]] = {}
        self.version = version
        self.told: list[tuple[str, str]] = []
        self.count: Mapping[str, int] = {}
        self.diffs = 0
        self._seen = 0

    def look(self) -> None:
        """Take what has come."""
        for frame in self.client.frames[self._seen :]:
            if frame["type"] == "presence" and "id" not in frame:
                self._take(frame)
        self._seen = len(self.client.frames)

    def _take(self, frame: Frame) -> None:
        if frame["after"] != self.version and int(frame["version"]) <= int(self.version):
            return  # older than the list
        assert frame["after"] == self.version, frame
        self.diffs += 1
        for member in (*frame["joined"], *frame["updated"]):
            self.members[member["subject"]] = member
        for member in frame["left"]:
            self.members.pop(member["subject"], None)
        self.told += [(what, each["subject"]) for what in ("joined", "left", "updated") for each in frame[what]]
        self.version, self.count = frame["version"], frame["count"]

    async def when(self, is_so: Callable[[], bool]) -> None:
        """Read until it is so."""
        self.look()
        while not is_so():
            await self.client.receive()
            self.look()

    async def until(self, *subjects: str) -> None:
        """Read until these are the members."""
        await self.when(lambda: set(self.members) == set(subjects))

    async def until_connections(self, subject: str, number: int) -> None:
        await self.when(lambda: self.members[subject]["connections"] == number)

    @property
    def came_and_went(self) -> list[tuple[str, str]]:
        return [each for each in self.told if each[0] != "updated"]


@asynccontextmanager
async def hearing(node: Node, key: str, item: Any = HEARD) -> AsyncGenerator[Room]:
    """A client that hears the lobby, and has read who is there."""
    async with node.open(key) as client:
        (entry,) = (await client.subscribe(item))["channels"]
        page = await listed(client)
        assert page["next"] is None
        room = Room(client, max(entry["presence"]["version"], page["version"], key=int))
        room.members = {member["subject"]: member for member in page["members"]}
        yield room


async def listed(client: StreamClient, channel: str = "chat:lobby", **more: Any) -> Frame:
    answer = await client.ask({"type": "presence", "channel": channel, **more})
    assert answer["type"] == "presence", answer
    return answer


async def is_alone(client: StreamClient) -> bool:
    return (await listed(client))["count"] == {"members": 1, "connections": 1}


@asynccontextmanager
async def redis_at(url: str) -> AsyncGenerator[Any]:
    """A client of the Redis that the nodes have."""
    client: Any = connect_redis(url)
    try:
        yield client
    finally:
        await client.aclose()


async def subject_of(client: StreamClient) -> str:
    welcome = [frame for frame in client.frames if frame["type"] == "welcome"]
    return (welcome or [await client.expect("welcome")])[0]["subject"]


def subjects(page: Frame) -> list[str]:
    return [member["subject"] for member in page["members"]]


@pytest.fixture
async def other(organisation: Organisation) -> str:
    """Another key of the same organisation."""
    return await organisation.key()


class TestMembers:
    """Whoever has `subscribed` is there."""

    async def test_subscriber_of_a_chat_is_a_member_at_once(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str, other: str
    ):
        """On every node, from `subscribed` on, without having asked; no frame comes to who has not."""
        async with (
            serve(database_url, redis_url, clock) as one,
            serve(database_url, redis_url, clock) as two,
            one.open(key) as ann,
            two.open(other) as bob,
        ):
            names = [await subject_of(ann), await subject_of(bob)]
            assert (await listed(bob))["count"] == {"members": 0, "connections": 0}
            await ann.subscribe("chat:lobby")
            page = await listed(bob)
            assert subjects(page) == [names[0]]
            assert page["members"][0]["connections"] == 1
            assert page["members"][0]["data"] is None
            await bob.subscribe("chat:lobby")
            assert subjects(await listed(ann)) == sorted(names)
            await ann.quiet()

    async def test_joins_and_leaves_are_heard(self, node: Node, key: str, other: str):
        """In dense versions, with the whole member."""
        async with hearing(node, key) as room, node.open(other) as bob:
            me, name = next(iter(room.members)), await subject_of(bob)
            await bob.subscribe("chat:lobby")
            await room.until(me, name)
            assert room.count == {"members": 2, "connections": 2}
            await bob.ask({"type": "unsubscribe", "channels": ["chat:lobby"]})
            await room.until(me)
            assert room.told == [("joined", name), ("left", name)]
            assert room.diffs == 2

    async def test_subscribed_says_after_which_version_frames_follow(self, node: Node, key: str):
        """The own join is in the list, or follows."""
        async with node.open(key) as client:
            (entry,) = (await client.subscribe(HEARD))["channels"]
            assert entry["presence"]["version"].isdigit()
            assert (await listed(client))["epoch"] == entry["presence"]["epoch"]

    async def test_members_that_cannot_be_read_refuse_the_channel_alone(
        self, node: Node, redis_url: str, organisation: Organisation, key: str, clock: ManualClock
    ):
        """For the moment: the connection and its other channels live, and nobody is left behind as a member."""
        room = f"presence:{{{organisation.id}}}:room:chat:lobby"
        async with redis_at(redis_url) as redis, node.open(key) as client:
            await redis.set(room, "what no script can read")
            lobby, quiet, agents = (await client.subscribe(HEARD, "chat:quiet", "agents"))["channels"]
            assert lobby["error"]["code"] == "SERVICE_UNAVAILABLE"
            assert "error" not in quiet
            assert "error" not in agents
            await redis.delete(room)

            async def nobody_is_there() -> bool:
                await clock.advance(1)
                return (await listed(client))["count"]["members"] == 0

            await eventually(nobody_is_there)
            (entry,) = (await client.subscribe(HEARD))["channels"]
            assert entry["presence"]["epoch"]
            await eventually(lambda: is_alone(client), what="a member")

    async def test_tabs_of_one_person(self, node: Node, key: str, other: str):
        """Joined once, left once."""
        async with hearing(node, key) as room:
            me = next(iter(room.members))
            async with node.joined(other, "chat:lobby") as first:
                name = await subject_of(first)
                await room.until(me, name)
                async with node.joined(other, "chat:lobby"):
                    await room.until_connections(name, 2)
                await room.until_connections(name, 1)
            await room.until(me)
            assert room.came_and_went == [("joined", name), ("left", name)]

    async def test_strangers_see_nothing(self, node: Node, key: str, organisations: Organisations):
        """A room of the same name in another organisation is another."""
        stranger = await (await organisations.create()).key()
        async with hearing(node, key) as room, node.joined(stranger, HEARD) as eve:
            assert len((await listed(eve))["members"]) == 1
            await room.client.quiet()

    async def test_in_another_namespace_only_who_asks_is_seen(
        self, node: Node, key: str, other: str, organisation: Organisation
    ):
        """Where an organisation has given it presence; and it hears the others."""
        lounge = replace(LIVE["chat"], namespace="lounge")
        node.live.namespaces.settle(organisation.id, {**LIVE, "lounge": lounge})
        async with (
            node.joined(other, "lounge:a") as unseen,
            node.joined(key, {"channel": "lounge:a", "presence": True}) as me,
        ):
            assert subjects(await listed(unseen, "lounge:a")) == [await subject_of(me)]
            frame = {"type": "presence", "channel": "lounge:a", "data": {}}
            assert (await unseen.ask(frame))["error"]["code"] == "RESOURCE_CONFLICT"


class TestData:
    """What a member says of itself."""

    async def test_data_is_told_and_listed(self, node: Node, key: str, other: str):
        """To all who hear the room."""
        async with hearing(node, key) as room, node.joined(other, "chat:lobby") as bob:
            name = await subject_of(bob)
            answer = await listed(bob, data={"status": "typing"})
            assert answer["channel"] == "chat:lobby"
            await room.when(lambda: room.members.get(name, {}).get("data") == {"status": "typing"})
            page = await listed(room.client)
            assert {"status": "typing"} in [member["data"] for member in page["members"]]

    async def test_only_members_say_something(self, node: Node, key: str):
        """Who is not there has nothing to say; whoever has left neither."""
        async with node.open(key) as client:
            frame = {"type": "presence", "channel": "chat:lobby", "data": {}}
            assert (await client.ask(frame))["error"]["code"] == "RESOURCE_CONFLICT"
            await client.subscribe("chat:lobby")
            await client.ask({"type": "unsubscribe", "channels": ["chat:lobby"]})
            assert (await client.ask(frame))["error"]["code"] == "RESOURCE_CONFLICT"

    async def test_data_is_bounded(self, node: Node, key: str):
        """1 KiB as JSON."""
        async with node.joined(key, "chat:lobby") as client:
            frame = {"type": "presence", "channel": "chat:lobby", "data": {"x": "y" * 1024}}
            assert (await client.ask(frame))["error"]["code"] == "PAYLOAD_TOO_LARGE"
            await listed(client, data={"x": "y" * 1000})

    async def test_rate_is_bounded(self, node: Node, organisations: Organisations, organisation: Organisation):
        """As publishing is."""
        await organisations.limit(organisation, publishes_per_second=2)
        async with node.joined(await organisation.key(), "chat:lobby") as client:
            frame = {"type": "presence", "channel": "chat:lobby", "data": {}}
            kinds = [(await client.ask(frame))["type"] for _ in range(6)]
            assert kinds[:4] == ["presence"] * 4
            assert "error" in kinds


class TestLists:
    """By pages."""

    async def test_pages(self, node: Node, organisation: Organisation):
        """In the order of subjects; `next` says what comes."""
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(node.joined(await organisation.key(), "chat:lobby")) for _ in range(5)
            ]
            first = await listed(clients[0], limit=2)
            second = await listed(clients[0], limit=2, after=first["next"])
            third = await listed(clients[0], limit=2, after=second["next"])
            found = [*subjects(first), *subjects(second), *subjects(third)]
            assert found == sorted([await subject_of(client) for client in clients])
            assert (third["next"], third["count"]) == (None, {"members": 5, "connections": 5})

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"limit": 0}, "VALIDATION_ERROR"),
            ({"limit": 501}, "VALIDATION_ERROR"),
            ({"after": 7}, "VALIDATION_ERROR"),
            ({"data": "x"}, "VALIDATION_ERROR"),
            ({"channel": "agents"}, "CHANNEL_NOT_FOUND"),
            ({"channel": "nope:x"}, "CHANNEL_NOT_FOUND"),
            ({"channel": "users:somebody"}, "FORBIDDEN"),
        ],
        ids=["none", "many", "after", "data", "log", "unknown", "person"],
    )
    async def test_refusals(self, node: Node, key: str, more: dict[str, Any], code: str):
        """Each says what is wrong."""
        async with node.open(key) as client:
            answer = await client.ask({"type": "presence", "channel": "chat:lobby", **more})
            assert answer["error"]["code"] == code

    async def test_channel_without_presence_refuses_it(self, node: Node, key: str):
        """Only the channel that asked; without asking it is joined."""
        async with node.open(key) as client:
            asked = [{"channel": "agents", "presence": True}, {"channel": "chat:a", "presence": "yes"}, "twins"]
            answer = await client.subscribe(*asked)
            codes = [each.get("error", {}).get("code") for each in answer["channels"]]
            assert codes == ["VALIDATION_ERROR", "VALIDATION_ERROR", None]
            assert not (await client.subscribe("agents"))["channels"][0].get("error")

    async def test_restricted_caller_has_no_chat(self, node: Node, organisation: Organisation):
        """Who may not join may not read."""
        without = await organisation.key(scopes=["read:agents"])
        async with node.open(without) as client:
            answer = await client.ask({"type": "presence", "channel": "chat:lobby"})
            assert answer["error"]["code"] == "INSUFFICIENT_SCOPE"


class TestGrace:
    """Who is cut off and comes back was never away."""

    async def test_reconnect_to_another_node_is_no_flicker(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str, other: str
    ):
        """Neither left nor joined, though the first connection was lost."""
        async with (
            serve(database_url, redis_url, clock) as one,
            serve(database_url, redis_url, clock, grace=1.0) as two,
            hearing(one, key) as room,
        ):
            me = next(iter(room.members))
            async with two.joined(other, "chat:lobby") as bob:
                name = await subject_of(bob)
                await room.until(me, name)
                bob.socket.transport.abort()
                async with one.joined(other, "chat:lobby"):
                    await eventually(lambda: two.presence.counts.connections == 0, what="the grace has passed")
                    await room.until_connections(name, 1)
                    assert room.came_and_went == [("joined", name)]

    async def test_who_is_cut_off_stays_for_the_grace_only(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str, other: str
    ):
        """Then it has left."""
        async with serve(database_url, redis_url, clock, grace=0.3) as node, hearing(node, key) as room:
            me = next(iter(room.members))
            async with node.joined(other, "chat:lobby") as bob:
                name = await subject_of(bob)
                await room.until(me, name)
                bob.socket.transport.abort()
                assert name in subjects(await listed(room.client))
                await room.until(me)

    async def test_clean_close_leaves_at_once(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str, other: str
    ):
        """The grace is for those who were cut off."""
        async with serve(database_url, redis_url, clock, grace=300.0) as node, hearing(node, key) as room:
            me = next(iter(room.members))
            async with node.joined(other, "chat:lobby") as bob:
                await room.until(me, await subject_of(bob))
            await room.until(me)

    async def test_revoked_key_leaves_at_once(
        self, database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation, key: str
    ):
        """It does not come back."""
        async with serve(database_url, redis_url, clock, grace=300.0) as node, hearing(node, key) as room:
            me = next(iter(room.members))
            doomed = await organisation.key()
            async with node.joined(doomed, "chat:lobby") as bob:
                await room.until(me, await subject_of(bob))
                await organisation.revoke(doomed)
                await clock.advance(2.0)
                await room.until(me)


class TestMany:
    """Crowds."""

    async def test_everybody_hears_everybody(self, node: Node, organisation: Organisation):
        """Thirty come at once and leave at once: all end with the same view, in far fewer frames than changes."""
        keys = [await organisation.key() for _ in range(30)]
        async with AsyncExitStack() as stack:
            rooms = await asyncio.gather(*(stack.enter_async_context(hearing(node, each)) for each in keys))
            names = {await subject_of(room.client) for room in rooms}
            for room in rooms:
                await room.until(*names)
            assert max(int(room.version) for room in rooms) < 30
