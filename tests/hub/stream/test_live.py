"""Live rooms over real sockets and engines: publishing, recovery, histories, the room of a person, refusals."""

from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.auth.organisations import set_limits
from core.auth.tiers import TIERS
from core.store.database import connect_as
from rooms.live_rules import LIVE
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.valkey import OwnRedis
from tests.hub.stream.node import Node, serve

pytestmark = pytest.mark.each_redis


async def publish(client: StreamClient, channel: str, data: Any) -> Frame:
    """Publish, and return what stands under `result`."""
    answer = await client.ask({"type": "publish", "channel": channel, "data": data})
    assert answer["type"] == "result", answer
    return answer["result"]


async def refused(client: StreamClient, frame: dict[str, Any]) -> str:
    """Return the code with which a frame is refused."""
    answer = await client.ask(frame)
    assert answer["type"] == "error", answer
    return answer["error"]["code"]


async def came(client: StreamClient, count: int, kind: str = "event") -> list[Frame]:
    """Return all frames of a kind that have come, `count` of them: those of an own publish may come before its result."""
    while len(found := [frame for frame in client.frames if frame["type"] == kind]) < count:
        await client.receive()
    assert len(found) == count, found
    return found


def data_of(frames: list[Frame]) -> list[Any]:
    return [frame["event"]["data"] for frame in frames]


def place_of(answer: Frame) -> tuple[str, str, bool]:
    (item,) = answer["channels"]
    return item["offset"], item["epoch"], item["recovered"]


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


class TestHistory:
    """The latest, what follows an offset, what is before one."""

    async def test_pages_of_a_history(self, node: Node, key: str):
        async with node.open(key) as client:
            result = [await publish(client, "chat:a", number) for number in range(1, 11)][-1]

            async def history(**fields: Any) -> tuple[list[int], bool]:
                found = (await client.ask({"type": "history", "channel": "chat:a", **fields}))["result"]
                assert (found["channel"], found["offset"], found["epoch"]) == ("chat:a", "10", result["epoch"])
                assert all(each["offset"] == str(each["event"]["data"]) for each in found["events"])
                return [each["event"]["data"] for each in found["events"]], found["recovered"]

            assert await history() == (list(range(1, 11)), True)
            assert await history(limit=3) == ([8, 9, 10], True)
            assert await history(limit=3, before="8") == ([5, 6, 7], True)
            assert await history(limit=3, offset="4") == ([5, 6, 7], True)
            assert await history(offset="10", epoch=result["epoch"]) == ([], True)
            assert await history(limit=2, offset="4", epoch="other") == ([9, 10], False)
            assert await history(limit=2, offset="11") == ([9, 10], False)

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"channel": "agents"}, "CHANNEL_NOT_FOUND"),
            ({"channel": "chat:"}, "CHANNEL_NOT_FOUND"),
            ({"channel": "chat:" + "x" * 300}, "CHANNEL_NOT_FOUND"),
            ({}, "VALIDATION_ERROR"),
            ({"channel": 7}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "limit": 0}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "limit": 257}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "limit": True}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "offset": "1", "before": "2"}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "before": "x"}, "VALIDATION_ERROR"),
        ],
    )
    async def test_what_cannot_be_read(self, node: Node, key: str, fields: dict[str, Any], code: str):
        async with node.open(key) as client:
            assert await refused(client, {"type": "history", **fields}) == code


class TestPublishing:
    """Who may, what, and how often."""

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"channel": "agents", "data": 1}, "FORBIDDEN"),
            ({"channel": f"runs:{uuid4()}", "data": 1}, "FORBIDDEN"),
            ({"channel": f"sessions:{uuid4()}", "data": 1}, "FORBIDDEN"),
            ({"channel": "nope:x", "data": 1}, "CHANNEL_NOT_FOUND"),
            ({"channel": "users:", "data": 1}, "CHANNEL_NOT_FOUND"),
            ({"channel": "users", "data": 1}, "CHANNEL_NOT_FOUND"),
            ({"channel": "chat:a b", "data": 1}, "CHANNEL_NOT_FOUND"),
            ({"channel": "chat:a"}, "VALIDATION_ERROR"),
            ({"data": 1}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "data": "x" * 16 * 1024}, "PAYLOAD_TOO_LARGE"),
        ],
    )
    async def test_what_cannot_be_published(self, node: Node, key: str, fields: dict[str, Any], code: str):
        async with node.open(key) as client:
            assert await refused(client, {"type": "publish", **fields}) == code

    async def test_deep_data_is_refused(self, node: Node, key: str):
        """The connection lives."""
        async with node.open(key) as client:
            deep: list[Any] = []
            for _ in range(499):
                deep = [deep]
            await client.send({"type": "publish", "channel": "chat:a", "data": deep})
            assert (await client.expect("error"))["error"]["code"] in ("VALIDATION_ERROR", "BAD_REQUEST")
            assert await publish(client, "chat:a", None)

    async def test_scopes(self, node: Node, organisation: Organisation):
        """Reading is `read:streams`, publishing `write:streams`."""
        async with node.open(await organisation.key(["read:streams"])) as reader:
            assert place_of(await reader.subscribe("chat:a"))[0] == "0"
            code = await refused(reader, {"type": "publish", "channel": "chat:a", "data": 1})
            assert code == "INSUFFICIENT_SCOPE"
        async with node.open(await organisation.key(["write:streams"])) as writer:
            await publish(writer, "chat:a", 1)
            assert (await writer.subscribe("chat:a"))["channels"][0]["error"]["code"] == "INSUFFICIENT_SCOPE"
        async with node.open(await organisation.key(resource_ids=[uuid4()])) as restricted:
            assert await refused(restricted, {"type": "publish", "channel": "chat:a", "data": 1}) == "FORBIDDEN"
            assert (await restricted.subscribe("chat:a"))["channels"][0]["error"]["code"] == "FORBIDDEN"

    async def test_rate_of_a_connection(self, node: Node, key: str, clock: ManualClock):
        """A burst, then so many a second; another connection has its own."""
        per_second = TIERS["enterprise"].publishes_per_second
        async with node.open(key) as client, node.open(key) as other:
            frame = {"type": "publish", "channel": "chat:a", "data": 1}
            for _ in range(2 * per_second):
                await publish(client, "chat:a", 1)
            assert await refused(client, frame) == "RATE_LIMIT_EXCEEDED"
            await publish(other, "chat:a", 1)
            await clock.advance(1.001 / per_second)
            await publish(client, "chat:a", 1)
            assert await refused(client, frame) == "RATE_LIMIT_EXCEEDED"

    async def test_rate_is_the_organisations(self, node: Node, organisation: Organisation, key: str, database_url: str):
        """Its own limit takes the place of the tier's."""
        owner = await connect_as(database_url, "hub_owner")
        await set_limits(owner, organisation.slug, {"publishes_per_second": 1})
        await owner.close()
        async with node.open(key) as client:
            for _ in range(2):
                await publish(client, "chat:a", 1)
            assert await refused(client, {"type": "publish", "channel": "chat:a", "data": 1}) == "RATE_LIMIT_EXCEEDED"

    async def test_without_redis_it_is_refused_and_the_socket_stays(
        self, database_url: str, own_redis: OwnRedis, key: str, clock: ManualClock
    ):
        """With a code that says to try again."""
        async with serve(database_url, own_redis.url, clock) as node, node.open(key) as client:
            await publish(client, "chat:a", 1)
            own_redis.kill()
            frame = {"type": "publish", "channel": "chat:a", "data": 1}
            assert await refused(client, frame) == "SERVICE_UNAVAILABLE"
            own_redis.start()
            assert (await publish(client, "chat:a", 2))["offset"]


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


def org_of(client: StreamClient) -> Any:
    """Return the organisation that a connection speaks for."""

    return UUID(client.frames[0]["org_id"])
