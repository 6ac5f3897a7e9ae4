"""Live rooms over real sockets and engines: publishing, recovery, histories, the room of a person, refusals."""

from contextlib import AsyncExitStack

import pytest

from rooms.live_rules import LIVE
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.valkey import OwnRedis
from tests.hub.stream.node import Node, serve
from tests.hub.stream.speaking import came, data_of, org_of, place_of, publish, refused

pytestmark = pytest.mark.each_redis


class TestChat:
    """What one publishes, all members get, once and in order."""

    async def test_event_of_a_chat(self, node: Node, key: str):
        """The frame is that of the log; the answer to the publisher names offset, epoch and event."""
        async with node.joined(key, "chat:lobby") as reader, node.open(key) as writer:
            subject = (await writer.receive())["subject"]
            result = await publish(writer, "chat:lobby", {"text": "Hello"})
            (frame,) = await reader.events(1)
            assert frame == {
                "type": "event",
                "channel": "chat:lobby",
                "offset": "1",
                "event": {
                    "id": result["event_id"],
                    "type": "chat.message",
                    "source": subject,
                    "subject": "chat/lobby",
                    "time": frame["event"]["time"],
                    "data": {"text": "Hello"},
                },
            }
            assert result["offset"] == "1"
            assert result["epoch"] == place_of(await reader.subscribe("chat:lobby"))[1]

    async def test_members_of_two_nodes_get_everything_in_order(
        self, database_url: str, redis_url: str, key: str, clock: ManualClock
    ):
        """One room, whatever node its members are on."""
        async with (
            serve(database_url, redis_url, clock) as one,
            serve(database_url, redis_url, clock) as other,
            AsyncExitStack() as stack,
        ):
            readers = [await stack.enter_async_context(node.joined(key, "chat:a")) for node in (one, other, other)]
            writer = await stack.enter_async_context(one.open(key))
            for number in range(30):
                await publish(writer, "chat:a", number)
            for reader in readers:
                frames = await reader.events(30)
                assert data_of(frames) == list(range(30))
                assert [frame["offset"] for frame in frames] == [str(offset) for offset in range(1, 31)]

    async def test_rooms_of_two_organisations_are_two(self, node: Node, key: str, organisations: Organisations):
        """Of one name, and yet apart."""
        other = await (await organisations.create()).key()
        async with node.joined(key, "chat:lobby") as mine, node.joined(other, "chat:lobby") as theirs:
            await publish(theirs, "chat:lobby", 1)
            await came(theirs, 1)
            await mine.quiet()
            assert (await mine.ask({"type": "history", "channel": "chat:lobby"}))["result"]["events"] == []

    async def test_after_unsubscribing_nothing_comes(self, node: Node, key: str):
        """And the others stay."""
        async with node.joined(key, "chat:a", "chat:b") as client:
            await client.ask({"type": "unsubscribe", "channels": ["chat:a"]})
            await publish(client, "chat:a", 1)
            await publish(client, "chat:b", 2)
            assert data_of(await came(client, 1)) == [2]

    async def test_chat_and_log_in_one_frame(self, node: Node, key: str, organisation: Organisation):
        """Each goes on in its own offsets; the bookmark is of the log alone."""
        async with node.joined(key, "chat:a", "agents") as client:
            await node.emit(organisation.id)
            await publish(client, "chat:a", 1)
            await came(client, 2)
            pong = await client.ask({"type": "ping"})
            answer = await client.subscribe("agents", "chat:a")
            assert pong["position"]["offset"] == "1"
            assert pong["position"]["epoch"] == answer["channels"][0]["epoch"] != answer["channels"][1]["epoch"]

    async def test_live_rooms_alone_have_no_bookmark(self, node: Node, key: str):
        """Their offsets stand in their frames."""
        async with node.joined(key, "chat:a") as client:
            assert "position" not in await client.ask({"type": "ping"})


class TestRecovery:
    """Who comes back gets what it missed, or a reset with the reason."""

    async def test_missed_events_follow_subscribed(self, node: Node, key: str):
        async with node.joined(key, "chat:a") as client:
            _, epoch, _ = place_of(await client.subscribe("chat:a"))
        async with node.open(key) as writer:
            for number in range(5):
                await publish(writer, "chat:a", number)
            answer = await writer.subscribe({"channel": "chat:a", "offset": "2", "epoch": epoch})
            assert place_of(answer) == ("2", epoch, True)
            await publish(writer, "chat:a", 5)
            assert data_of(await came(writer, 4)) == [2, 3, 4, 5]

    async def test_another_node_reads_them_from_redis(
        self, database_url: str, redis_url: str, key: str, clock: ManualClock
    ):
        """A node that has just opened the room, and one that has never heard of it, give the same."""
        async with serve(database_url, redis_url, clock) as one, one.open(key) as writer:
            result = [await publish(writer, "chat:a", number) for number in range(40)][-1]
            async with serve(database_url, redis_url, clock) as other, other.open(key) as client:
                wanted = {"channel": "chat:a", "offset": "10", "epoch": result["epoch"]}
                assert place_of(await client.subscribe(wanted)) == ("10", result["epoch"], True)
                assert data_of(await client.events(30)) == list(range(10, 40))

    @pytest.mark.parametrize(
        ("offset", "epoch", "reason"), [("99", None, "offset"), ("1", "other", "epoch"), ("99", "other", "epoch")]
    )
    async def test_what_cannot_be_honoured_is_reset(
        self, node: Node, key: str, offset: str, epoch: str | None, reason: str
    ):
        """It joins at the head, and the reset says from where."""
        async with node.open(key) as client:
            result = await publish(client, "chat:a", 1)
            answer = await client.subscribe({"channel": "chat:a", "offset": offset, "epoch": epoch})
            assert place_of(answer) == ("1", result["epoch"], False)
            reset = await client.expect("reset")
            assert (reset["channel"], reset["offset"], reset["epoch"]) == ("chat:a", "1", result["epoch"])
            assert reset["reason"] == reason

    async def test_history_that_reaches_back_no_more_is_reset(self, node: Node, key: str, organisation: Organisation):
        """Never a silent gap."""
        channel, most = "chat:a", LIVE["chat"].history_entries
        numbers = range(most + 10)
        made = [
            await node.live.publish(organisation.id, channel, "chat.message", b"%d" % number, source="test")
            for number in numbers
        ]
        at = made[-1]
        async with node.open(key) as client:
            answer = await client.subscribe({"channel": channel, "offset": "9", "epoch": at.epoch})
            assert place_of(answer) == (str(most + 10), at.epoch, False)
            assert (await client.expect("reset"))["reason"] == "history"
        async with node.open(key) as client:
            answer = await client.subscribe({"channel": channel, "offset": "10", "epoch": at.epoch})
            assert place_of(answer) == ("10", at.epoch, True)
            assert data_of(await client.events(most)) == list(range(10, most + 10))

    async def test_repeated_subscribe_says_where_it_stands(self, node: Node, key: str):
        """Nothing is restarted."""
        async with node.joined(key, "chat:a") as client:
            result = await publish(client, "chat:a", 1)
            await came(client, 1)
            again = await client.subscribe({"channel": "chat:a", "offset": "0"})
            assert place_of(again) == ("1", result["epoch"], True)
            await client.quiet()


class TestPerson:
    """`users:<subject>`: everyone is in the own one from the start, and in no other."""

    async def test_connection_is_in_it_from_the_start(self, node: Node, key: str):
        """Its frames carry the epoch, since no `subscribed` told it."""
        async with node.joined(key, "chat:a") as client, node.open(key) as writer:
            own = f"users:{client.frames[0]['subject']}"
            assert await writer.expect("welcome")
            await node.live.acquire(org_of(client), own)  # heard here from now on
            result = await publish(writer, own, "you")
            (frame,) = await client.events(1)
            assert (frame["channel"], frame["offset"], frame["epoch"]) == (own, "1", result["epoch"])
            assert (frame["event"]["type"], frame["event"]["subject"]) == ("user.message", own.replace(":", "/", 1))

    async def test_it_can_be_subscribed_to_recover(self, node: Node, key: str):
        """What came while nobody was there follows; afterwards every event comes once."""
        async with node.open(key) as writer:
            own = f"users:{(await writer.receive())['subject']}"
            first = await publish(writer, own, 1)
            await publish(writer, "users:somebody", "x")
            await publish(writer, own, 2)
            async with node.open(key) as client:
                answer = await client.subscribe({"channel": own, "offset": first["offset"], "epoch": first["epoch"]})
                assert place_of(answer) == ("1", first["epoch"], True)
                assert data_of(await client.events(1)) == [2]
                await publish(writer, own, 3)
                (frame,) = await client.events(1)
                assert (frame["event"]["data"], frame["offset"]) == (3, "3")
                assert place_of(await client.subscribe(own)) == ("3", first["epoch"], True)
                await client.quiet()

    async def test_nobody_else_may_join_or_read(self, node: Node, key: str):
        """Whatever scopes there are."""
        async with node.open(key) as client:
            answer = await client.subscribe("users:somebody")
            assert answer["channels"][0]["error"]["code"] == "FORBIDDEN"
            assert await refused(client, {"type": "history", "channel": "users:somebody"}) == "FORBIDDEN"

    async def test_it_needs_no_scope(self, node: Node, organisation: Organisation):
        """To be in it; publishing does."""
        key = await organisation.key(["read:agents"])
        async with node.open(key) as client:
            own = f"users:{(await client.receive())['subject']}"
            assert place_of(await client.subscribe(own))[0] == "0"
            assert await refused(client, {"type": "publish", "channel": own, "data": 1}) == "INSUFFICIENT_SCOPE"

    async def test_who_unsubscribes_it_is_out_of_it(self, node: Node, key: str):
        """Though nobody had subscribed."""
        async with node.open(key) as client:
            own = f"users:{(await client.receive())['subject']}"
            await node.live.acquire(org_of(client), own)
            await client.ask({"type": "unsubscribe", "channels": [own]})
            await publish(client, own, 1)
            await publish(client, "chat:a", 1)
            await client.quiet()


class TestRedis:
    """A restart begins a new epoch; members are told."""

    @pytest.mark.parametrize("empty", [False, True])
    async def test_restart_is_a_reset(
        self, database_url: str, own_redis: OwnRedis, key: str, clock: ManualClock, empty: bool
    ):
        """Of chats and of the own room, which nobody has subscribed to; what comes next is of the new epoch."""
        async with serve(database_url, own_redis.url, clock) as node, node.joined(key, "chat:a") as client:
            own = f"users:{client.frames[0]['subject']}"
            before = await publish(client, "chat:a", 1)
            await publish(client, own, 1)
            await came(client, 2)
            own_redis.restart(empty=empty)
            resets = {frame["channel"]: frame for frame in await came(client, 2, "reset")}
            assert resets.keys() == {"chat:a", own}
            assert {frame["reason"] for frame in resets.values()} == {"epoch"}
            after = await publish(client, "chat:a", 2)
            frame = (await came(client, 3))[-1]
            assert after["epoch"] == resets["chat:a"]["epoch"] != before["epoch"]
            assert int(frame["offset"]) == int(after["offset"]) == int(resets["chat:a"]["offset"]) + 1
            async with node.open(key) as late:
                await late.subscribe({"channel": "chat:a", "offset": before["offset"], "epoch": before["epoch"]})
                assert (await late.expect("reset"))["reason"] == "epoch"
