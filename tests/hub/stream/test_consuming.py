"""Durable subscriptions over the socket: competing consumers, answers, and what becomes of what is not answered."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import pytest

from core.clock import SystemClock
from core.events.subscriptions import store
from core.events.subscriptions.subscription import NewSubscription
from core.ids import new_id
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve

RIGHTS = ["write:subscriptions", "read:events"]


async def subscribed(node: Node, org_id: UUID, **fields: Any) -> str:
    """Make a subscription to all that follows; return its channel."""
    given: dict[str, Any] = {"id": new_id(), "name": str(new_id()), "delivery": "socket", "types": ["agent.*"]}
    given |= {"delays": [0.0], **fields}
    async with node.database.read(org_id) as db:
        made = await store.create(db, org_id, NewSubscription(**given), SystemClock().now(), None)
    return f"subscriptions:{made.id}"


async def set_status(node: Node, org_id: UUID, channel: str, status: Any) -> None:
    async with node.database.transaction(org_id) as db:
        await store.change(db, org_id, id_of(channel), store.Change(status=status), SystemClock().now())


async def figures(node: Node, org_id: UUID, channel: str) -> store.Figures:
    async with node.database.read(org_id) as db:
        return await store.figures(db, org_id, id_of(channel))


async def all_done(node: Node, org_id: UUID, channel: str) -> None:
    async def is_done() -> bool:
        now = await figures(node, org_id, channel)
        return (now.lag, now.outstanding) == (0, 0)

    await eventually(is_done, what=f"{channel} has nothing left")


def id_of(channel: str) -> UUID:
    return UUID(channel.partition(":")[2])


async def answer(client: StreamClient, kind: str, *events: Frame, **members: Any) -> Frame:
    """Answer deliveries, and return what the hub says to it."""
    named = {"channel": events[0]["channel"], "deliveries": [each["delivery"] for each in events]}
    return await client.ask({"type": kind, **named, **members})


async def ack_quietly(client: StreamClient, event: Frame) -> None:
    await client.send({"type": "ack", "channel": event["channel"], "deliveries": [event["delivery"]]})


async def came(client: StreamClient, count: int, *, within: float = 30.0) -> list[Frame]:
    """Return all events that came, once there are `count`; they may come before an answer."""
    while sum(frame["type"] == "event" for frame in client.frames) < count:
        await client.receive(within=within)
    return [frame for frame in client.frames if frame["type"] == "event"]


def code_of(frame: Frame) -> str:
    assert frame["type"] == "error", frame
    return frame["error"]["code"]


class TestDelivery:
    """Events come with what to answer them by, to one consumer each."""

    async def test_event_comes_and_is_done(self, node: Node, organisation: Organisation, key: str):
        """The whole event, its position, the attempt; what is acknowledged does not come again."""
        channel = await subscribed(node, organisation.id)
        async with node.open(key) as client:
            said = await client.subscribe(channel)
            assert said["channels"] == [{"channel": channel, "status": "active", "max_in_flight": 20}]
            (number,) = await node.emit(organisation.id)
            event = await client.expect("event")
            assert (event["channel"], event["attempt"], numbers_of([event])) == (channel, 1, [number])
            assert "replayed" not in event
            assert event["offset"] == "1"
            result = (await answer(client, "ack", event))["result"]
            assert result == {"done": [event["delivery"]], "lost": []}
            again = (await answer(client, "ack", event))["result"]
            assert again == {"done": [], "lost": [event["delivery"]]}
            await all_done(node, organisation.id, channel)
            await client.quiet()
        assert node.door.counts.consumed == Counter(delivered=1, acked=1, expired=0, returned=0)

    async def test_what_waited_comes_at_once(self, node: Node, organisation: Organisation, key: str):
        """Events are kept while nobody consumes; an answer without an id is not answered."""
        channel = await subscribed(node, organisation.id)
        numbers = await node.emit(organisation.id, 50)
        async with node.joined(key, channel) as client:
            came: list[int] = []
            while len(came) < 50:
                event = await client.expect("event")
                came += numbers_of([event])
                await ack_quietly(client, event)
            assert came == numbers
            await all_done(node, organisation.id, channel)
            await client.quiet()
            assert {frame["type"] for frame in client.frames} <= {"welcome", "subscribed", "event", "pong"}

    async def test_no_more_than_max_in_flight(self, node: Node, organisation: Organisation, key: str):
        """What is not answered bounds what comes."""
        channel = await subscribed(node, organisation.id)
        await node.emit(organisation.id, 10)
        async with node.joined(key, {"channel": channel, "max_in_flight": 3}) as client:
            first = await came(client, 3)
            await node.logged(organisation.id, 10)
            await client.quiet()
            await answer(client, "ack", *first[:2])
            assert len(await came(client, 5)) == 5
            await client.quiet()

    async def test_two_consumers_share(self, node: Node, organisation: Organisation, key: str):
        """Each event goes to one of them, and both get some; when one leaves, the other gets what it had, as another attempt."""
        channel = await subscribed(node, organisation.id)
        wanted = {"channel": channel, "max_in_flight": 5}
        async with node.joined(key, wanted) as stays:
            async with node.joined(key, wanted) as leaves:
                await node.emit(organisation.id, 10)
                mine, others = await stays.events(5), await leaves.events(5)
                assert sorted(numbers_of(mine + others)) == list(range(1, 11))
                await answer(leaves, "ack", others[0])
                await answer(stays, "ack", *mine)
            again = (await came(stays, 9))[5:]
            assert sorted(numbers_of(again)) == sorted(numbers_of(others[1:]))
            assert {event["attempt"] for event in again} == {2}
            await answer(stays, "ack", *again)
            await all_done(node, organisation.id, channel)

    async def test_ordered_subjects_come_one_at_a_time(self, node: Node, organisation: Organisation, key: str):
        """Of a subject the next comes when the one before is answered, whoever gets it; subjects do not wait for each other."""
        channel = await subscribed(node, organisation.id, ordered=True)
        agents = [f"agents:{uuid4()}" for _ in range(3)]
        async with node.joined(key, channel) as one, node.joined(key, channel) as two:
            for _ in range(10):
                for agent in agents:
                    await node.emit(organisation.id, 1, agent)
            done: dict[str, list[int]] = {}

            async def consume(client: StreamClient) -> None:
                while sum(map(len, done.values())) < 30:
                    event = await client.expect("event", within=60)
                    done.setdefault(event["event"]["subject"], []).extend(numbers_of([event]))
                    await ack_quietly(client, event)

            tasks = [asyncio.create_task(consume(client)) for client in (one, two)]
            await all_done(node, organisation.id, channel)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert len(done) == 3
            assert all(numbers == sorted(numbers) and len(numbers) == 10 for numbers in done.values())

    async def test_slow_consumer_gets_little_and_holds_nobody_up(
        self, node: Node, organisation: Organisation, key: str
    ):
        """Who does not read has what its socket took; the others get all the rest, and what it has when it leaves."""
        channel = await subscribed(node, organisation.id, max_in_flight=1000)
        wanted = {"channel": channel, "max_in_flight": 1000}
        async with node.open(key, max_queue=1) as slow:
            await slow.subscribe(wanted)
            slow.socket.transport.pause_reading()
            await node.emit(organisation.id, 400, padding=30_000)
            await eventually(lambda: any(not each.outbound.takes_more for each in node.door.sockets))
            taken = node.door.counts.consumed["delivered"]
            assert taken < 400
            async with node.joined(key, wanted) as quick:
                for event in await quick.events(400 - taken, within=60):
                    await ack_quietly(quick, event)
                slow.socket.transport.abort()
                for event in await quick.events(taken, within=60):
                    assert event["attempt"] == 2
                    await ack_quietly(quick, event)
                await all_done(node, organisation.id, channel)
                assert len({event["event"]["id"] for event in quick.frames if event["type"] == "event"}) == 400


class TestAnswers:
    """`ack`, `nack`, `extend`: several in a frame, and what is stale or wrong never costs the connection."""

    async def test_nack_comes_again(self, node: Node, organisation: Organisation, key: str):
        """After the subscription's delay; the attempt is counted, and is another delivery."""
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client:
            await node.emit(organisation.id)
            first = await client.expect("event")
            assert (await answer(client, "nack", first, reason="busy"))["result"]["done"] == [first["delivery"]]
            _, second = await came(client, 2)
            assert second["event"] == first["event"]
            assert second["attempt"] == 2
            assert (await answer(client, "ack", first))["result"] == {"done": [], "lost": [first["delivery"]]}
            assert (await answer(client, "ack", second))["result"] == {"done": [second["delivery"]], "lost": []}

    async def test_stale_lease_is_lost_beside_the_valid_one(self, node: Node, organisation: Organisation, key: str):
        """Of one delivery, in one frame."""
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client:
            await node.emit(organisation.id)
            first = await client.expect("event")
            await answer(client, "nack", first)
            _, second = await came(client, 2)
            lost, done = [first["delivery"]], [second["delivery"]]
            said = await answer(client, "extend", first, second, seconds=60)
            assert said["result"] == {"done": done, "lost": lost}
            said = await answer(client, "nack", first, second)
            assert said["result"] == {"done": done, "lost": lost}
            third = (await came(client, 3))[2]
            said = await answer(client, "ack", first, second, third)
            assert said["result"] == {"done": [third["delivery"]], "lost": lost + done}

    async def test_nack_with_a_delay_waits(self, node: Node, organisation: Organisation, key: str):
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client:
            await node.emit(organisation.id)
            await answer(client, "nack", await client.expect("event"), delay_seconds=3600)
            await client.quiet()
            assert (await figures(node, organisation.id, channel)).in_flight == 0

    async def test_nack_for_good_is_a_dead_letter(self, node: Node, organisation: Organisation, key: str):
        """It does not come again, and is announced."""
        channel = await subscribed(node, organisation.id, types=["*"])
        other = await subscribed(node, organisation.id, types=["subscription.*"])
        async with node.joined(key, channel, other) as client:
            await node.emit(organisation.id)
            await answer(client, "nack", await client.expect("event"), dead_letter=True, reason="never")
            _, told = await came(client, 2)
            assert told["channel"] == other
            assert told["event"]["type"] == "subscription.dead_lettered"
            assert (await figures(node, organisation.id, channel)).dead_letters == 1

    async def test_last_attempt_is_a_dead_letter(self, node: Node, organisation: Organisation, key: str):
        """An event whose consumers leave without an answer is not handed out for ever."""
        channel = await subscribed(node, organisation.id, max_deliveries=2)
        await node.emit(organisation.id)
        for attempt in (1, 2):
            async with node.joined(key, channel) as client:
                assert (await client.expect("event"))["attempt"] == attempt
        async with node.joined(key, channel):

            async def is_dead() -> bool:
                return (await figures(node, organisation.id, channel)).dead_letters == 1

            await eventually(is_dead)

    async def test_extend_keeps_the_lease(self, node: Node, organisation: Organisation, key: str):
        """What would have come again after a second does not; what is not extended does."""
        channel = await subscribed(node, organisation.id, ack_seconds=1.0)
        async with node.joined(key, channel) as client:
            await node.emit(organisation.id, 2)
            kept, lapses = await client.events(2)
            assert (await answer(client, "extend", kept, seconds=3600))["result"]["done"] == [kept["delivery"]]
            again = (await came(client, 3))[2]
            assert (again["event"]["id"], again["attempt"]) == (lapses["event"]["id"], 2)
            said = (await answer(client, "ack", kept, lapses))["result"]
            assert said == {"done": [kept["delivery"]], "lost": [lapses["delivery"]]}

    async def test_lease_that_has_ended_frees_its_place(self, node: Node, organisation: Organisation, key: str):
        """A consumer that never answers gets the event again as its next attempt, and its bound still holds."""
        channel = await subscribed(node, organisation.id, ack_seconds=1.0)
        async with node.joined(key, {"channel": channel, "max_in_flight": 1}) as client:
            await node.emit(organisation.id)
            assert [event["attempt"] for event in await client.events(3)] == [1, 2, 3]

    async def test_answer_to_what_was_lost_is_told_without_an_id(
        self, node: Node, organisation: Organisation, key: str
    ):
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client:
            await node.emit(organisation.id)
            event = await client.expect("event")
            await answer(client, "ack", event)
            await ack_quietly(client, event)
            assert (await client.expect("result"))["result"] == {"done": [], "lost": [event["delivery"]]}

    async def test_wrong_frames_are_refused(self, node: Node, organisation: Organisation, key: str):
        """Each from the catalogue; nothing is taken of them, and the connection goes on."""
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client:
            await node.emit(organisation.id)
            event = await client.expect("event")
            named = {"channel": channel, "deliveries": [event["delivery"]]}
            for frame in (
                {"type": "ack"},
                {"type": "ack", "channel": channel},
                {"type": "ack", "channel": channel, "deliveries": []},
                {"type": "ack", "channel": channel, "deliveries": "42"},
                {"type": "ack", "channel": channel, "deliveries": [event["delivery"], "42"]},
                {"type": "ack", "channel": channel, "deliveries": [42]},
                {"type": "ack", "channel": channel, "deliveries": [event["delivery"]] * 1001},
                {"type": "ack", "channel": 7, "deliveries": [event["delivery"]]},
                {"type": "nack", **named, "delay_seconds": -1},
                {"type": "nack", **named, "delay_seconds": "soon"},
                {"type": "nack", **named, "delay_seconds": 100_000},
                {"type": "nack", **named, "reason": 1},
                {"type": "nack", **named, "dead_letter": "yes"},
                {"type": "extend", **named},
                {"type": "extend", **named, "seconds": 0},
                {"type": "extend", **named, "seconds": True},
            ):
                assert code_of(await client.ask(frame)) == "VALIDATION_ERROR", frame
            for other in ("agents", f"subscriptions:{uuid4()}", "nope"):
                asked = {"type": "ack", "channel": other, "deliveries": [event["delivery"]]}
                assert code_of(await client.ask(asked)) == "CHANNEL_NOT_FOUND"
            assert (await answer(client, "ack", event))["result"]["done"] == [event["delivery"]]


class TestJoining:
    """Who may, and what."""

    async def refusal(self, client: StreamClient, item: Any) -> str:
        (said,) = (await client.subscribe(item))["channels"]
        return said["error"]["code"]

    async def test_other_organisations_subscription_does_not_exist(
        self, node: Node, key: str, organisation: Organisation, organisations: Organisations
    ):
        """Nor does an answer with its leases do anything."""
        stranger = await organisations.create()
        channel = await subscribed(node, organisation.id)
        own = await subscribed(node, stranger.id)
        async with node.joined(key, channel) as client, node.joined(await stranger.key(), own) as other:
            assert await self.refusal(other, channel) == "CHANNEL_NOT_FOUND"
            await node.emit(organisation.id)
            event = await client.expect("event")
            stolen = {"type": "ack", "channel": own, "deliveries": [event["delivery"]]}
            assert (await other.ask(stolen))["result"]["lost"] == [event["delivery"]]
            await other.quiet()
            assert (await answer(client, "ack", event))["result"]["done"] == [event["delivery"]]

    @pytest.mark.parametrize("missing", RIGHTS)
    async def test_rights_are_those_of_a_pull(self, node: Node, organisation: Organisation, missing: str):
        channel = await subscribed(node, organisation.id)
        async with node.open(await organisation.key([each for each in RIGHTS if each != missing])) as client:
            assert await self.refusal(client, channel) == "INSUFFICIENT_SCOPE"
        async with node.joined(await organisation.key(RIGHTS), channel):
            pass

    async def test_only_those_delivered_by_socket_without_a_place(
        self, node: Node, organisation: Organisation, key: str
    ):
        pulled = await subscribed(node, organisation.id, delivery="pull")
        channel = await subscribed(node, organisation.id)
        async with node.open(key) as client:
            assert await self.refusal(client, pulled) == "RESOURCE_CONFLICT"
            assert await self.refusal(client, f"subscriptions:{uuid4()}") == "CHANNEL_NOT_FOUND"
            assert await self.refusal(client, "subscriptions") == "CHANNEL_NOT_FOUND"
            assert await self.refusal(client, channel.upper().replace("SUBSCRIPTIONS", "subscriptions")) in (
                "CHANNEL_NOT_FOUND",
            )
            for wrong in ({"offset": "7"}, {"since": "2026-01-01T00:00:00Z"}, {"after_event": str(uuid4())}):
                assert await self.refusal(client, {"channel": channel, **wrong}) == "VALIDATION_ERROR"
            for most in (0, -1, 1001, "7", 2.5, True):
                assert await self.refusal(client, {"channel": channel, "max_in_flight": most}) == "VALIDATION_ERROR"
            first = await client.subscribe({"channel": channel, "max_in_flight": 7})
            again = await client.subscribe({"channel": channel, "max_in_flight": 9}, "agents")
            assert again["channels"][0] == first["channels"][0]
            assert "offset" in again["channels"][1]

    async def test_unsubscribe_gives_back(self, node: Node, organisation: Organisation, key: str):
        """At once, and what was answered in the frame before is done."""
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client, node.open(key) as other:
            await node.emit(organisation.id, 3)
            first, *rest = await client.events(3)
            await ack_quietly(client, first)
            assert (await client.ask({"type": "unsubscribe", "channels": [channel]}))["channels"] == [channel]
            await other.subscribe(channel)
            again = await other.events(2)
            assert sorted(numbers_of(again)) == sorted(numbers_of(rest))
            await other.quiet()
            assert code_of(await answer(client, "ack", rest[0])) == "CHANNEL_NOT_FOUND"
            await node.emit(organisation.id)
            await other.expect("event")
            await client.quiet()


class TestLife:
    """Pause, resume, the end of a subscription, of rights, of a node."""

    async def test_pause_and_resume(self, node: Node, organisation: Organisation, key: str):
        """Told to who consumes; answers are taken meanwhile, and nothing is lost."""
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client:
            await node.emit(organisation.id)
            event = await client.expect("event")
            await set_status(node, organisation.id, channel, "paused")
            assert await client.expect("subscription") == {
                "type": "subscription",
                "channel": channel,
                "status": "paused",
                "reason": None,
            }
            await node.emit(organisation.id, 2)
            await node.logged(organisation.id, 3)
            assert (await answer(client, "ack", event))["result"]["done"]
            await client.quiet()
            async with node.open(key) as late:
                assert (await late.subscribe(channel))["channels"][0]["status"] == "paused"
            await set_status(node, organisation.id, channel, "active")
            assert (await client.expect("subscription"))["status"] == "active"
            assert len(await client.events(2)) == 2

    async def test_deleted_subscription_ends_its_consumers(self, node: Node, organisation: Organisation, key: str):
        """Each is told, and may have another channel in its place."""
        channel, other = await subscribed(node, organisation.id), await subscribed(node, organisation.id)
        async with node.joined(key, channel) as one, node.joined(key, channel, other) as two:
            async with node.database.transaction(organisation.id) as db:
                await store.remove(db, organisation.id, id_of(channel))
            for client in (one, two):
                told = await client.expect("unsubscribed")
                assert (told["channels"], told["error"]["code"]) == ([channel], "RESOURCE_NOT_FOUND")
            await node.emit(organisation.id)
            event = await two.expect("event")
            assert event["channel"] == other
            (refused,) = (await one.subscribe(channel))["channels"]
            assert refused["error"]["code"] == "CHANNEL_NOT_FOUND"
        assert node.door.counts.consumers == 0

    async def test_drained_node_hands_out_no_more_and_gives_back(
        self, database_url: str, redis_url: str, organisation: Organisation, key: str
    ):
        """Answers are taken until the socket's turn; another node gets the rest at once, not when leases end."""
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(serve(database_url, redis_url, SystemClock())) for _ in range(2)]
            channel = await subscribed(nodes[0], organisation.id, ack_seconds=3600.0)
            going = await stack.enter_async_context(nodes[0].joined(key, {"channel": channel, "max_in_flight": 4}))
            await nodes[0].emit(organisation.id, 6)
            await answer(going, "ack", (await came(going, 4))[0])
            had = await came(going, 5)
            await nodes[0].door.drain(SystemClock().monotonic() + 5)
            await going.closed()
            staying = await stack.enter_async_context(nodes[1].joined(key, channel))
            rest = await staying.events(5)
            assert Counter(event["attempt"] for event in rest) == {2: 4, 1: 1}
            assert {event["event"]["id"] for event in rest} > {event["event"]["id"] for event in had[1:]}


class TestFaults:
    """What breaks is told, counted and mended."""

    async def test_desk_that_dies_works_again(self, node: Node, organisation: Organisation, key: str):
        """A subscription that no code can read stands for any bug; when it is gone, consumers are served."""
        channel = await subscribed(node, organisation.id)
        async with node.joined(key, channel) as client:
            async with node.database.transaction(organisation.id) as db:
                await db.execute(
                    "UPDATE subscriptions SET ack_seconds = 'NaN' WHERE org_id = $1 AND id = $2",
                    organisation.id,
                    id_of(channel),
                )
            await node.emit(organisation.id)
            await eventually(lambda: node.door.counts.consuming_restarts, within=60)
            async with node.database.transaction(organisation.id) as db:
                await db.execute(
                    "UPDATE subscriptions SET ack_seconds = 30 WHERE org_id = $1 AND id = $2",
                    organisation.id,
                    id_of(channel),
                )
            event = await client.expect("event", within=60)
            assert (await answer(client, "ack", event))["result"]["done"]

    async def test_client_that_vanishes_in_the_middle_of_answers(
        self, node: Node, organisation: Organisation, key: str
    ):
        """Sockets cut at any moment: all is done in the end, and what came twice came as another attempt."""
        channel = await subscribed(node, organisation.id, max_deliveries=1000)
        await node.emit(organisation.id, 200)
        seen: set[tuple[str, int]] = set()

        async def consume(client: StreamClient, most: int) -> None:
            for _ in range(most):
                event = await client.expect("event")
                came = (event["event"]["id"], event["attempt"])
                assert came not in seen
                seen.add(came)
                await ack_quietly(client, event)

        for cut in range(10):
            async with node.joined(key, channel) as client:
                await consume(client, cut * 3)
                client.socket.transport.abort()
        async with node.joined(key, channel) as client:
            last = asyncio.create_task(consume(client, 1000))
            await all_done(node, organisation.id, channel)
            last.cancel()
            await asyncio.wait([last])
            assert last.cancelled()
        assert len({event for event, _ in seen}) == 200
