"""Channels over real sockets and engines: joining, recovery, order, leaving, bookmarks, new epochs."""

from typing import Any
from uuid import uuid4

import pytest

from core.store.database import connect_as
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve

SEED = {"type": "subscribe", "channels": ["agents", "knowledge", "twins"]}


def states(answer: Frame) -> list[Any]:
    """Return (channel, offset, recovered) of what joined and (channel, code) of what was refused."""
    return [
        (each["channel"], each["error"]["code"])
        if "error" in each
        else (each["channel"], int(each["offset"]), each["recovered"])
        for each in answer["channels"]
    ]


async def bookmark(client: StreamClient) -> int | None:
    pong = await client.ask({"type": "ping"})
    return int(pong["position"]["offset"]) if "position" in pong else None


class TestJoining:
    """From the end of the log, or from the client's offset."""

    async def test_seed_frame_works_as_it_stands(self, node: Node, key: str, organisation: Organisation):
        """Nothing before it but the credential, no id, and everything comes."""
        async with node.open(key) as client:
            await client.send(SEED)
            answer = await client.expect("subscribed")
            assert "id" not in answer
            assert states(answer) == [("agents", 0, False), ("knowledge", 0, False), ("twins", 0, False)]
            for channel in (f"agents:{uuid4()}", f"knowledge:{uuid4()}", f"twins:{uuid4()}"):
                await node.emit(organisation.id, 1, channel)
            frames = await client.events(3)
            assert [(frame["channel"], frame["offset"]) for frame in frames] == [
                ("agents", "1"),
                ("knowledge", "2"),
                ("twins", "3"),
            ]

    async def test_refused_channels_stand_beside_those_that_join(self, node: Node, organisation: Organisation):
        """Each with its reason."""
        own = uuid4()
        key = await organisation.key(["read:agents"], resource_ids=[own])
        async with node.open(key) as client:
            answer = await client.subscribe("nope", "agents", f"agents:{own}", f"agents:{uuid4()}", "twins")
            assert states(answer) == [
                ("nope", "CHANNEL_NOT_FOUND"),
                ("agents", "FORBIDDEN"),
                (f"agents:{own}", 0, False),
                (answer["channels"][3]["channel"], "FORBIDDEN"),
                ("twins", "INSUFFICIENT_SCOPE"),
            ]
            await node.emit(organisation.id)
            await node.emit(organisation.id, 1, f"agents:{own}")
            assert numbers_of(await client.events(1)) == [2]

    async def test_only_refused_channels_need_no_feed(self, node: Node, key: str):
        """The answer has errors alone."""
        async with node.open(key) as client:
            assert states(await client.subscribe("nope")) == [("nope", "CHANNEL_NOT_FOUND")]

    async def test_129th_channel_is_refused(self, node: Node, key: str):
        """The others join; one that is left makes room."""
        names = [f"agents:{uuid4()}" for _ in range(129)]
        async with node.open(key) as client:
            answer = await client.subscribe(*names)
            assert states(answer)[127:] == [(names[127], 0, False), (names[128], "TOO_MANY_CHANNELS")]
            await client.ask({"type": "unsubscribe", "channels": names[:1]})
            assert states(await client.subscribe(names[128])) == [(names[128], 0, False)]

    async def test_organisations_never_hear_of_each_other(
        self, node: Node, key: str, organisation: Organisation, organisations: Organisations
    ):
        """Also by the name of a channel that exists elsewhere."""
        other = await organisations.create()
        resource = f"agents:{uuid4()}"
        async with node.joined(key, "agents", resource) as mine, node.joined(await other.key(), "agents") as theirs:
            await node.emit(other.id, 1, resource)
            await node.emit(organisation.id, 1, resource)
            assert numbers_of(await theirs.events(1)) == [1]
            assert numbers_of(await mine.events(2)) == [2, 2]
            await mine.quiet()
            await theirs.quiet()

    async def test_member_of_two_rooms_gets_a_frame_for_each(self, node: Node, key: str, organisation: Organisation):
        """One event, two channels."""
        resource = f"agents:{uuid4()}"
        async with node.joined(key, resource, "agents") as client:
            await node.emit(organisation.id, 1, resource)
            assert {frame["channel"] for frame in await client.events(2)} == {"agents", resource}


class TestRecovery:
    """What was missed comes after `subscribed`, oldest first, then what happens."""

    @pytest.mark.parametrize("missed", [1, 40, 1500])
    async def test_missed_events_come_once_and_in_order(
        self, node: Node, key: str, organisation: Organisation, missed: int
    ):
        """From the ring or the log, and on into what happens meanwhile."""
        numbers = await node.emit(organisation.id, missed)
        await node.logged(organisation.id, missed)
        async with node.open(key) as client:
            answer = await client.subscribe({"channel": "agents", "offset": "0"})
            assert states(answer) == [("agents", 0, True)]
            numbers += await node.emit(organisation.id, 30)
            frames = await client.events(missed + 30)
            assert numbers_of(frames) == numbers
            assert [int(frame["offset"]) for frame in frames] == list(range(1, missed + 31))
            await client.quiet()

    async def test_channels_of_one_frame_each_start_from_their_own_offset(
        self, node: Node, key: str, organisation: Organisation
    ):
        """One merged read; nobody gets what it has."""
        one = f"agents:{uuid4()}"
        await node.emit(organisation.id, 10, one)
        await node.logged(organisation.id, 10)
        async with node.open(key) as client:
            await client.subscribe({"channel": "agents", "offset": 7}, {"channel": one, "offset": 4}, "twins")
            frames = await client.events(9)
            of_kind = [int(frame["offset"]) for frame in frames if frame["channel"] == "agents"]
            of_one = [int(frame["offset"]) for frame in frames if frame["channel"] == one]
            assert (of_kind, of_one) == ([8, 9, 10], [5, 6, 7, 8, 9, 10])
            await client.quiet()

    async def test_large_events_do_not_make_a_recovery_a_slow_reader(
        self, node: Node, key: str, organisation: Organisation
    ):
        """16 MiB, four times what may wait: each page waits until the last one is read."""
        numbers = await node.emit(organisation.id, 600, padding=28_000)
        await node.logged(organisation.id, 600)
        async with node.open(key) as client:
            await client.subscribe({"channel": "agents", "offset": 0})
            assert numbers_of(await client.events(600)) == numbers

    @pytest.mark.parametrize(
        ("item", "reason"),
        [({"offset": "0", "epoch": "another"}, "epoch"), ({"offset": "99"}, "offset")],
        ids=["other epoch", "above the head"],
    )
    async def test_offset_that_cannot_be_honoured_is_reset(
        self, node: Node, key: str, organisation: Organisation, item: Frame, reason: str
    ):
        """The channel joins at the head, and the client is told why; it is not refused."""
        await node.emit(organisation.id, 3)
        await node.logged(organisation.id, 3)
        async with node.open(key) as client:
            answer = await client.subscribe({"channel": "agents", **item}, "twins")
            assert states(answer) == [("agents", 3, False), ("twins", 3, False)]
            reset = await client.receive()
            epoch = answer["channels"][0]["epoch"]
            assert reset == {
                "type": "reset", "channel": "agents", "offset": "3", "epoch": epoch, "reason": reason
            }  # fmt: skip
            await node.emit(organisation.id)
            assert numbers_of(await client.events(1)) == [4]


class TestRepeats:
    """Subscribing to what is subscribed changes nothing."""

    async def test_answer_says_where_the_channel_stands(self, node: Node, key: str, organisation: Organisation):
        """Live: at the head; nothing comes twice."""
        async with node.joined(key, "agents") as client:
            await node.emit(organisation.id, 2)
            await client.events(2)
            assert states(await client.subscribe("agents")) == [("agents", 2, True)]
            await node.emit(organisation.id)
            assert numbers_of(await client.events(1)) == [3]
            await client.quiet()

    async def test_recovered_is_honest_about_an_offset(self, node: Node, key: str, organisation: Organisation):
        """True where this connection had everything after it, else false; to read again, unsubscribe."""
        await node.emit(organisation.id, 5)
        await node.logged(organisation.id, 5)
        async with node.joined(key, "agents") as client:
            for offset, recovered in ((4, False), (5, True), (6, False)):
                answer = await client.subscribe({"channel": "agents", "offset": offset})
                assert states(answer) == [("agents", 5, recovered)]
            await client.quiet()

    async def test_answers_keep_the_order_of_the_frames(self, node: Node, key: str, organisation: Organisation):
        """Sent at once, before the feed is there; the second repeats the first's channel."""
        await node.emit(organisation.id, 3)
        await node.logged(organisation.id, 3)
        async with node.open(key) as client:
            await client.send({"id": 1, "type": "subscribe", "channels": [{"channel": "agents", "offset": 0}]})
            await client.send({"id": 2, "type": "subscribe", "channels": ["agents", "twins"]})
            first = await client.expect("subscribed")
            second = await client.expect("subscribed")
            assert (first["id"], second["id"]) == (1, 2)
            assert numbers_of([f for f in client.frames if f["type"] == "event"] or await client.events(3)) == [1, 2, 3]


class TestLeaving:
    """After `unsubscribed` nothing of the channel follows."""

    async def test_nothing_follows(self, node: Node, key: str, organisation: Organisation):
        """The others go on."""
        async with node.joined(key, "agents", "twins") as client:
            answer = await client.ask({"type": "unsubscribe", "channels": ["agents", "nope"]})
            assert (answer["type"], answer["channels"]) == ("unsubscribed", ["agents", "nope"])
            await node.emit(organisation.id)
            await node.emit(organisation.id, 1, f"twins:{uuid4()}")
            assert numbers_of(await client.events(1)) == [2]

    async def test_leaving_while_catching_up_stops_it(self, node: Node, key: str, organisation: Organisation):
        """What is read for nobody is not read on, and joining again begins anew."""
        await node.emit(organisation.id, 3000, padding=2000)
        await node.logged(organisation.id, 3000)
        async with node.open(key) as client:
            await client.send({"id": "a", "type": "subscribe", "channels": [{"channel": "agents", "offset": 0}]})
            await client.expect("event")
            left = await client.ask({"type": "unsubscribe", "channels": ["agents"]})
            before = [frame for frame in client.frames if frame["type"] == "event"]
            assert left["type"] == "unsubscribed"
            assert numbers_of(before) == list(range(1, len(before) + 1))
            await client.quiet()
            assert states(await client.subscribe({"channel": "agents", "offset": 2998})) == [("agents", 2998, True)]
            assert numbers_of(await client.events(2)) == [2999, 3000]

    async def test_leaving_before_the_answer_wins(
        self, database_url: str, own_redis: OwnRedis, clock: ManualClock, key: str, organisation: Organisation
    ):
        """The subscribe is answered with an error, and nothing is joined."""
        async with serve(database_url, own_redis.url, clock) as node, node.open(key) as client:
            await client.receive()
            await eventually(lambda: node.feeds.connected)
            own_redis.pause()
            await client.send({"id": 1, "type": "subscribe", "channels": ["agents", "twins"]})
            assert (await client.ask({"type": "unsubscribe", "channels": ["agents"]}))["type"] == "unsubscribed"
            own_redis.resume()
            assert states(await client.expect("subscribed")) == [("agents", "RESOURCE_CONFLICT"), ("twins", 0, False)]
            await node.emit(organisation.id)
            await node.emit(organisation.id, 1, f"twins:{uuid4()}")
            assert numbers_of(await client.events(1)) == [2]


class TestBookmarks:
    """How far everything has been sent, so that a sparse channel's offset does not grow old."""

    async def test_pong_carries_the_position(self, node: Node, key: str, organisation: Organisation):
        """Of the organisation's log, also where the channel itself had nothing."""
        async with node.joined(key, "twins") as client, node.joined(key, "agents") as other:
            assert await bookmark(client) == 0
            await node.emit(organisation.id, 4)
            await other.events(4)
            assert await bookmark(client) == 4

    async def test_pong_without_channels_has_none(self, node: Node, key: str):
        """There is nothing that it could be a bookmark of."""
        async with node.open(key) as client:
            assert await bookmark(client) is None

    async def test_position_comes_every_thirty_seconds(self, node: Node, key: str, clock: ManualClock):
        """A frame of its own."""
        async with node.joined(key, "agents") as client:
            for _ in range(2):
                await clock.advance(31)
                frame = await client.receive()
                assert (frame["type"], frame["offset"]) == ("position", "0")

    async def test_no_bookmark_while_a_channel_catches_up(self, node: Node, key: str, organisation: Organisation):
        """It would be above what was sent: a client that came back from it would miss the rest."""
        await node.emit(organisation.id, 3000, padding=2000)
        await node.logged(organisation.id, 3000)
        async with node.open(key) as client:
            await client.send({"id": "a", "type": "subscribe", "channels": [{"channel": "agents", "offset": 0}]})
            highest = 0
            for _ in range(10):
                place = await bookmark(client)
                highest = max([highest, *(int(f["offset"]) for f in client.frames if f["type"] == "event")])
                assert place is None or place == highest


class TestNewEpoch:
    """The log begins another life while sockets are open."""

    async def start_epoch(self, database_url: str, epoch: str) -> None:
        connection = await connect_as(database_url, "hub_owner")
        await connection.execute("UPDATE hub.log_epoch SET epoch = $1", epoch)
        await connection.close()

    async def test_open_channels_are_reset_and_go_on(
        self, node: Node, key: str, organisation: Organisation, database_url: str
    ):
        """Each channel once; what follows is of the new epoch."""
        await node.emit(organisation.id, 2)
        async with node.joined(key, "agents", "twins") as client:
            await node.logged(organisation.id, 2)
            await self.start_epoch(database_url, "k99")
            node.feeds.check_all()
            resets = [await client.expect("reset") for _ in range(2)]
            assert [(each["channel"], each["epoch"], each["reason"]) for each in resets] == [
                ("agents", "k99", "epoch"),
                ("twins", "k99", "epoch"),
            ]
            answer = await client.subscribe({"channel": "agents", "offset": resets[0]["offset"], "epoch": "k99"})
            assert answer["channels"][0]["epoch"] == "k99"
            assert answer["channels"][0]["recovered"] is True


class TestEnginesAway:
    """Losing an engine for a while closes no socket."""

    async def test_redis_restarted_under_an_open_socket(
        self, database_url: str, own_redis: OwnRedis, clock: ManualClock, key: str, organisation: Organisation
    ):
        """What was emitted meanwhile comes, in order, and the socket is the same."""
        async with serve(database_url, own_redis.url, clock) as node, node.joined(key, "agents") as client:
            numbers = await node.emit(organisation.id, 2)
            own_redis.kill()
            numbers += await node.emit(organisation.id, 3)
            own_redis.restart(empty=True)
            numbers += await node.emit(organisation.id, 2)
            assert numbers_of(await client.events(7, within=20)) == numbers
