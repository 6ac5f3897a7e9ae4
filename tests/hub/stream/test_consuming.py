"""Durable subscriptions over the socket: competing consumers, their answers, and what becomes of what is not answered."""

import asyncio
from collections import Counter
from uuid import uuid4

from tests.harness.organisations import Organisation
from tests.harness.stream_client import StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.consuming import ack_quietly, all_done, answer, came, code_of, figures, subscribed
from tests.hub.stream.node import Node, numbers_of


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
