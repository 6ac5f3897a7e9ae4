"""Filters, deltas and wildcards over real sockets: who gets what, and that nothing is lost where a view begins or ends."""

from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import pytest

from hub.stream.commands import Wanted
from hub.stream.view_rooms import MOST_COHORTS, MOST_COST
from hub.stream.viewed import bound
from rooms.namespaces import Namespaces
from rooms.views import COST_OF_DELTA, View
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import Frame, StreamClient
from tests.hub.stream.node import Node, serve
from tests.hub.stream.resources import Fold, World

LONG = "x" * 300
LOGISTICS = {"channel": "twins", "filter": {"type": "logistics"}}


@pytest.fixture
def world(node: Node, organisation: Organisation) -> World:
    return World(node, organisation.id)


def codes(answer: Frame) -> list[str | None]:
    """Return the error of each channel, None of those that joined."""
    return [each["error"]["code"] if "error" in each else None for each in answer["channels"]]


def place(answer: Frame, index: int = 0) -> tuple[str, str]:
    """Return the place and the code of what is wrong with an item."""
    detail = answer["channels"][index]["error"]["details"][0]
    return detail["field"], detail["code"]


async def said(client: StreamClient) -> list[tuple[int, str]]:
    """Return (offset, what) of the events that have come and are on the way: whole, left or patch."""
    await client.ask({"type": "ping"})
    kinds = ("left", "patch")
    return [
        (int(frame["offset"]), next((kind for kind in kinds if kind in frame), "whole"))
        for frame in client.frames
        if frame["type"] == "event"
    ]


class TestFilter:
    """Only what matches, and the end of that."""

    async def test_only_what_matches_comes_and_what_leaves_is_told(self, node: Node, key: str, world: World):
        async with node.joined(key, LOGISTICS) as client, node.joined(key, "twins") as plain:
            mine = await world.create(type="logistics")
            other = await world.create(type="factory")
            await world.update(other, name="f")
            await world.update(mine, type="factory")
            await world.update(mine, name="m")
            await world.update(mine, type="logistics")
            await world.delete(other)
            await world.delete(mine)
            await world.handed_out()
            assert await said(client) == [(1, "whole"), (4, "left"), (6, "whole"), (8, "whole")]
            assert [at for at, _ in await said(plain)] == list(range(1, 9))

    async def test_what_was_missed_is_filtered_too(self, node: Node, key: str, world: World):
        """Through the ring and the log, with the same words, and on into what happens."""
        mine, other = await world.create(type="logistics"), await world.create(type="factory")
        for name in "abc":
            await world.update(other, name=name)
        await world.update(mine, type="factory")
        async with node.joined(key, {**LOGISTICS, "offset": "0"}) as first:
            assert await said(first) == [(1, "whole"), (6, "left")]
            async with node.joined(key, {**LOGISTICS, "offset": "2"}) as second:
                await world.update(mine, type="logistics")
                await world.handed_out()
                # Of `other`, whose beginning it has not seen, it cannot be known that nobody holds it.
                assert await said(second) == [(3, "left"), (6, "left"), (7, "whole")]
                assert await said(first) == [(1, "whole"), (6, "left"), (7, "whole")]

    async def test_bookmark_passes_what_is_hidden(self, node: Node, key: str, world: World):
        """A client that is told nothing for long does not fall back for that."""
        async with node.joined(key, LOGISTICS) as client:
            for _ in range(5):
                await world.create(type="factory")
            await world.handed_out()
            pong = await client.ask({"type": "ping"})
            assert pong["position"]["offset"] == "5"
            assert await said(client) == []

    @pytest.mark.parametrize(
        ("item", "field"),
        [
            ({"channel": "twins", "filter": {"a": {"$regex": "x"}}}, "filter.a"),
            ({"channel": "twins", "filter": {}}, "filter"),
            ({"channel": f"twins:{uuid4()}/telemetry", "filter": {"a": 1}}, "filter"),
            ({"channel": f"subscriptions:{uuid4()}", "filter": {"a": 1}}, "filter"),
            ({"channel": "chat:lobby", "delta": True}, "delta"),
            ({"channel": "events", "delta": True}, "delta"),
            ({"channel": "twins", "delta": 1}, "delta"),
        ],
    )
    async def test_what_cannot_be_is_refused_with_its_place(self, node: Node, key: str, item: Any, field: str):
        """And the other channels of the frame join."""
        async with node.open(key) as client:
            answer = await client.subscribe(item, "agents")
            assert codes(answer) == ["VALIDATION_ERROR", None]
            assert place(answer) == (field, "INVALID_FORMAT")

    async def test_channel_keeps_the_view_that_it_has(self, node: Node, key: str, world: World):
        """Another one beside it is a conflict; after unsubscribe it may have any."""
        async with node.joined(key, LOGISTICS) as client:
            assert codes(await client.subscribe(LOGISTICS)) == [None]
            for other in ("twins", {**LOGISTICS, "delta": True}, {"channel": "twins", "filter": {"type": "x"}}):
                assert codes(await client.subscribe(other)) == ["RESOURCE_CONFLICT"]
            await world.create(type="logistics")
            assert len(await client.events(1)) == 1
            await client.ask({"type": "unsubscribe", "channels": ["twins"]})
            assert codes(await client.subscribe("twins")) == [None]
            await world.create(type="factory")
            assert [frame["offset"] for frame in await client.events(1)] == ["2"]

    async def test_channel_has_so_many_filters_at_once(self, node: Node, key: str):
        """What an event costs is bounded; equal ones count once, and who leaves makes room."""
        items = [
            {"channel": f"twins:{UUID(int=1)}", "delta": True, "filter": {"n": number}}
            for number in range(MOST_COST // (COST_OF_DELTA + 2))
        ]
        one_more = {"channel": f"twins:{UUID(int=1)}", "delta": True, "filter": {"n": -1}}
        async with node.open(key) as last:
            clients = [node.open(key) for _ in items]
            sockets = [await each.__aenter__() for each in clients]
            try:
                for socket, item in zip(sockets, items, strict=True):
                    assert codes(await socket.subscribe(item)) == [None]
                assert codes(await last.subscribe(one_more)) == ["TOO_MANY_FILTERS"]
                assert codes(await last.subscribe(items[0], f"twins:{UUID(int=2)}")) == [None, None]
                await sockets[1].ask({"type": "unsubscribe", "channels": [items[1]["channel"]]})
                await last.ask({"type": "unsubscribe", "channels": [one_more["channel"]]})
                assert codes(await last.subscribe(one_more)) == [None]
            finally:
                for each in clients:
                    await each.__aexit__(None, None, None)

    async def test_other_organisation_is_told_nothing(
        self, node: Node, key: str, world: World, organisations: Organisations
    ):
        """Also through a view that is equal."""
        other = await organisations.create()
        async with node.joined(await other.key(), LOGISTICS, "twins:*") as theirs, node.joined(key, LOGISTICS) as mine:
            await world.create(type="logistics")
            assert len(await mine.events(1)) == 1
            await theirs.quiet()

    async def test_live_room_has_filters(self, node: Node, key: str):
        """Over what is published, live and missed; offsets go on through what is hidden."""
        item = {"channel": "chat:lobby", "filter": {"$or": [{"kind": "alarm"}, {"$type": "chat.other"}]}}

        async def publish(kind: str) -> Frame:
            return await writer.ask({"type": "publish", "channel": "chat:lobby", "data": {"kind": kind}})

        async with node.open(key) as writer, node.joined(key, item) as client:
            result: Frame = {}
            for kind in ("note", "alarm", "note", "alarm"):
                result = await publish(kind)
            assert [frame["offset"] for frame in await client.events(2)] == ["2", "4"]
            epoch = result["result"]["epoch"]
            async with node.joined(key, {**item, "offset": "2", "epoch": epoch}) as back:
                await publish("note")
                await publish("alarm")
                assert [frame["offset"] for frame in await back.events(2)] == ["4", "6"]
                await back.quiet()


class TestDelta:
    """What changed of what the client has."""

    async def test_second_state_comes_as_a_patch(self, node: Node, key: str, world: World):
        async with node.joined(key, {"channel": "twins", "delta": True}) as client:
            id = await world.create(text=LONG, n=1, more=LONG)
            await world.update(id, n=2)
            await world.update(id, text=None)
            await world.delete(id)
            await world.handed_out()
            assert await said(client) == [(1, "whole"), (2, "patch"), (3, "patch"), (4, "whole")]
            frame = next(frame for frame in client.frames if "patch" in frame)
            assert frame["patch"][-1] == {"op": "replace", "path": "/n", "value": 2}
            assert "data" not in frame["event"]
            assert frame["event"]["subject"] == f"twins/{id}"

    async def test_members_of_all_forms_share_a_view(
        self, database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
    ):
        """Looked at once, and each gets it in its own form, compressed or not."""
        item = {"channel": "twins", "delta": True, "filter": {"type": "a"}}
        async with serve(database_url, redis_url, clock) as node, AsyncExitStack() as stack:
            world = World(node, organisation.id)
            clients: list[StreamClient] = []
            for form in ("aimatrix.json", "aimatrix.msgpack"):
                for compression in (None, "deflate"):
                    opened = node.open(key, subprotocols=[form], compression=compression)
                    clients.append(await stack.enter_async_context(opened))
                    assert codes(await clients[-1].subscribe(item)) == [None]
            id = await world.create(type="a", text=LONG * 9, n=1)
            await world.update(id, n=2)
            await world.update(id, type="b")
            await world.handed_out()
            for client in clients:
                assert await said(client) == [(1, "whole"), (2, "patch"), (3, "left")]
            told = [[frame for frame in each.frames if frame["type"] == "event"] for each in clients]
            assert told[0] == told[1] == told[2] == told[3]

    async def test_who_joins_later_gets_the_whole_first(self, node: Node, key: str, world: World):
        """And those who were there before go on with patches."""
        item = {"channel": "twins", "delta": True}
        async with node.joined(key, item) as first:
            id = await world.create(text=LONG, n=1)
            await world.handed_out()
            async with node.joined(key, item) as second:
                await world.update(id, n=2)
                await world.update(id, n=3)
                await world.handed_out()
                assert await said(first) == [(1, "whole"), (2, "patch"), (3, "patch")]
                assert await said(second) == [(2, "whole"), (3, "patch")]

    async def test_who_returns_goes_on_with_patches(self, node: Node, key: str, world: World):
        """What it missed comes whole; after that it has what the others have."""
        item = {"channel": "twins", "delta": True}
        async with node.joined(key, item):
            id = await world.create(text=LONG, n=1)
            await world.update(id, n=2)
            await world.handed_out()
            async with node.joined(key, {**item, "offset": "1"}) as back:
                await world.update(id, n=3)
                await world.handed_out()
                assert await said(back) == [(2, "whole"), (3, "patch")]

    async def test_many_who_join_one_after_the_other_all_end_with_patches(self, node: Node, key: str, world: World):
        """More than are told apart: it is told whole once more than needed, and never wrongly."""
        id = await world.create(text=LONG, n=0)
        opened = [node.joined(key, {"channel": f"twins:{id}", "delta": True}) for _ in range(MOST_COHORTS + 4)]
        clients: list[StreamClient] = []
        try:
            for number, each in enumerate(opened, 1):
                clients.append(await each.__aenter__())
                await world.update(id, n=number)
                await world.handed_out()
            await world.update(id, n=100)
            await world.handed_out()
            for client in clients:
                fold = Fold()
                assert (await said(client))[-1] == (world.told, "patch")
                for frame in client.frames:
                    if frame["type"] == "event":
                        fold.take(frame)
                assert fold.states == world.states
        finally:
            for each in opened[: len(clients)]:
                await each.__aexit__(None, None, None)

    async def test_new_epoch_begins_with_the_whole(
        self, node: Node, key: str, world: World, organisation: Organisation
    ):
        """What was told before is of another log."""
        async with node.joined(key, {"channel": "twins", "delta": True}) as client:
            id = await world.create(text=LONG, n=1)
            await world.handed_out()
            await organisation.rows("UPDATE log_epoch SET epoch = 'another' RETURNING 1")
            node.feeds.check_all()
            await client.expect("reset", channel="twins", reason="epoch")
            await world.update(id, n=2)
            await world.update(id, n=3)
            kinds = ["patch" if "patch" in frame else "whole" for frame in await client.events(2)]
            assert kinds == ["whole", "patch"]


class TestWildcard:
    """All channels that begin so, under the name that was asked for."""

    async def test_star_brings_every_resource(self, node: Node, key: str, world: World):
        async with node.joined(key, "twins:*") as client:
            await world.create()
            (frame,) = await client.events(1)
            assert (frame["channel"], frame["offset"]) == ("twins:*", "1")
            async with node.joined(key, {"channel": "twins:*", "offset": "0"}, "twins") as back:
                await world.create()
                frames = await back.events(3)
                assert [(f["channel"], f["offset"]) for f in frames] == [
                    ("twins:*", "1"),
                    ("twins", "2"),
                    ("twins:*", "2"),
                ]

    async def test_restricted_caller_gets_exactly_its_own(self, node: Node, world: World, organisation: Organisation):
        """Live and missed."""
        mine, other = await world.create(), await world.create()
        key = await organisation.key(["read:twins"], resource_ids=[UUID(mine)])
        async with node.joined(key, {"channel": "twins:*", "offset": "0"}) as client:
            await world.update(other)
            await world.update(mine)
            frames = await client.events(2)
            assert [frame["offset"] for frame in frames] == ["1", "4"]
            assert {frame["event"]["subject"] for frame in frames} == {f"twins/{mine}"}
            await client.quiet()

    def test_it_is_bound_to_the_caller_by_whichever_door_it_comes(self, organisation: Organisation):
        """A door that knows no views asks for the name alone."""
        mine = uuid4()
        caller = organisation.caller(resource_ids=[mine])
        (item,) = bound([Wanted("agents:*")], caller, {}, Namespaces())
        assert isinstance(item, Wanted)
        assert item.view == View("agents:*", "agents", prefix="agents:", only=frozenset({f"agents:{mine}"}))

    async def test_narrowed_credential_loses_what_it_has_no_more(
        self, node: Node, world: World, organisation: Organisation, clock: ManualClock
    ):
        """It is told, and joins again as it may now: at once what it lost is gone."""
        mine, lost = await world.create(), await world.create()
        key = await organisation.key(["read:twins"], resource_ids=[UUID(mine), UUID(lost)])
        async with node.joined(key, "twins:*") as client:
            narrow = "UPDATE keys SET resource_ids = $1 WHERE resource_ids IS NOT NULL RETURNING 1"
            await organisation.rows(narrow, [UUID(mine)])
            await clock.advance(2)
            told = await client.expect("unsubscribed")
            assert (told["channels"], told["error"]["code"]) == (["twins:*"], "FORBIDDEN")
            assert codes(await client.subscribe({"channel": "twins:*", "offset": "2"})) == [None]
            await world.update(lost)
            await world.update(mine)
            assert [frame["event"]["subject"] for frame in await client.events(1)] == [f"twins/{mine}"]

    async def test_subjects_of_applications_by_their_beginning(self, node: Node, key: str, organisation: Organisation):
        async with node.joined(key, "events:order-*", "events:*") as client:
            for subject in ("order-1", "orders", "order-", "bill-1"):
                await node.emit(organisation.id, 1, f"events:{subject}")
            frames = await client.events(6)
            of_orders = [frame["offset"] for frame in frames if frame["channel"] == "events:order-*"]
            assert of_orders == ["1", "3"]

    @pytest.mark.parametrize("channel", ["chat:*", "runs:*", "twins:*/telemetry", "subscriptions:*", "agents:a*", "*"])
    async def test_others_have_none(self, node: Node, key: str, channel: str):
        async with node.open(key) as client:
            assert codes(await client.subscribe(channel)) == ["CHANNEL_NOT_FOUND"]

    async def test_star_takes_the_scope_of_its_kind(self, node: Node, organisation: Organisation):
        key = await organisation.key(["read:agents"], resource_ids=[uuid4()])
        async with node.open(key) as client:
            answer = await client.subscribe("twins:*", "agents", "agents:*", "events:*")
            assert codes(answer) == ["INSUFFICIENT_SCOPE", "FORBIDDEN", None, "INSUFFICIENT_SCOPE"]
