"""The stream by long polling: what answers at once, what waits, and that nothing is lost in between."""

import asyncio
import random
from uuid import uuid4

import pytest

from hub.stream.plain.polls import MOST_BYTES
from tests.harness.clock import ManualClock
from tests.harness.event_source import open_events, poll
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve
from tests.rooms.answering import Keeper, Reader, Writer


async def test_first_poll_answers_at_once(node: Node, key: str):
    """With the cursor, and what was refused."""
    answer = await poll(node.base_url, key, ["agents", "nope", "chat:a"])
    (frame,) = answer["frames"]
    assert [each.get("error", {}).get("code") for each in frame["channels"]] == [None, "CHANNEL_NOT_FOUND", None]
    assert answer["cursor"].startswith("0.")
    assert answer["headers"]["Cache-Control"] == "no-store, no-transform"
    await eventually(lambda: node.door.connections == 0)


async def test_it_waits_for_what_comes(node: Node, key: str, organisation: Organisation):
    first = await poll(node.base_url, key, ["agents"])
    waiting = asyncio.ensure_future(poll(node.base_url, key, ["agents"], first["cursor"]))
    await eventually(lambda: node.door.sockets and node.door.sockets[0].channels)
    await node.emit(organisation.id, 1)
    answer = await waiting
    assert numbers_of(answer["frames"]) == [1]


async def test_nothing_comes(node: Node, key: str, organisation: Organisation, clock: ManualClock):
    """The answer is empty after `wait`; the cursor has gone on with the log."""
    first = await poll(node.base_url, key, ["twins"])
    await node.emit(organisation.id, 3)
    await node.logged(organisation.id, 3)
    waiting = asyncio.ensure_future(poll(node.base_url, key, ["twins"], first["cursor"], wait=3))
    await eventually(lambda: node.door.sockets and node.door.sockets[0].channels)
    assert not waiting.done()
    while not waiting.done():
        await clock.advance(0.5)
    answer = await waiting
    assert answer["frames"] == []
    assert answer["cursor"].startswith("3.")


async def test_who_does_not_wait_gets_on_all_the_same(node: Node, key: str, organisation: Organisation):
    """The time is not over before it is known where a channel begins, and what was missed: such a client would never get on."""
    cursor = (await poll(node.base_url, key, ["agents", "chat:a"], wait=0))["cursor"]
    assert cursor.startswith("0.")
    await node.emit(organisation.id, 3)
    await node.logged(organisation.id, 3)
    assert numbers_of((await poll(node.base_url, key, ["agents", "chat:a"], cursor, wait=0))["frames"]) == [1, 2, 3]


@pytest.mark.parametrize("wait", ["-1", "61", "x"])
async def test_wait_out_of_range(node: Node, key: str, wait: str):
    assert (await poll(node.base_url, key, ["agents"], wait=wait))["status"] == 422


async def test_refusals_are_statuses(node: Node, key: str):
    assert (await poll(node.base_url, None, ["agents"]))["status"] == 401
    assert (await poll(node.base_url, key, ["nope"]))["status"] == 404
    assert (await poll(node.base_url, key, [f"subscriptions:{uuid4()}"]))["status"] == 422
    assert (await poll(node.base_url, key, ["agents"], last_event_id="1.e"))["status"] == 400


async def test_nothing_is_lost_between_polls(node: Node, key: str, organisation: Organisation):
    """Log and rooms together, whatever comes when, however many polls it takes."""
    rng = random.Random(3)
    channels = ["agents", "chat:a", "chat:b"]
    cursor = (await poll(node.base_url, key, channels))["cursor"]
    said, told = {"chat:a": 0, "chat:b": 0}, {"chat:a": 0, "chat:b": 0}
    numbers: list[int] = []
    emitted = 0
    async with node.open(key) as socket:
        for _ in range(40):
            if rng.random() < 0.5:
                emitted += len(await node.emit(organisation.id, rng.randrange(1, 4)))
            else:
                channel = rng.choice(("chat:a", "chat:b"))
                await socket.ask({"type": "publish", "channel": channel, "data": 1})
                said[channel] += 1
            if rng.random() < 0.5:
                answer = await poll(node.base_url, key, channels, cursor, wait=0)
                cursor = answer["cursor"]
                numbers += _take(answer["frames"], told)
    await node.logged(organisation.id, emitted)
    while told != said or len(numbers) < emitted:
        answer = await poll(node.base_url, key, channels, cursor)
        cursor = answer["cursor"]
        numbers += _take(answer["frames"], told)
    assert numbers == list(range(1, emitted + 1))


def _take(frames: list[dict[str, object]], told: dict[str, int]) -> list[int]:
    for frame in frames:
        channel = str(frame["channel"])
        if channel in told:
            assert int(str(frame["offset"])) == told[channel] + 1, frame
            told[channel] += 1
    return numbers_of([frame for frame in frames if frame["channel"] == "agents"])


async def test_answer_is_bounded(node: Node, key: str, organisation: Organisation):
    """A client that was long away gets its past in several answers."""
    cursor = (await poll(node.base_url, key, ["agents"]))["cursor"]
    for _ in range(5):
        await node.emit(organisation.id, 20, padding=16_000)
    await node.logged(organisation.id, 100)
    numbers: list[int] = []
    polls = 0
    while len(numbers) < 100:
        answer = await poll(node.base_url, key, ["agents"], cursor)
        cursor = answer["cursor"]
        came = numbers_of(answer["frames"])
        assert 0 < len(came) * 16_000 <= MOST_BYTES + 33_000
        numbers += came
        polls += 1
    assert numbers == list(range(1, 101))
    assert polls > 4


async def test_cursor_is_that_of_a_stream_of_events(node: Node, key: str, organisation: Organisation):
    """A client may go from one to the other."""
    async with open_events(node.base_url, key, ["agents", "chat:a"]) as client:
        await client.expect("subscribed")
        await node.emit(organisation.id, 1)
        await client.events(1)
        cursor = client.cursor
    await node.emit(organisation.id, 1)
    answer = await poll(node.base_url, key, ["agents", "chat:a"], cursor)
    assert numbers_of(answer["frames"]) == [2]


async def test_channel_that_is_new_is_told_at_once(node: Node, key: str):
    """Where it begins is kept by nobody but the client; then it goes on with the others."""
    cursor = (await poll(node.base_url, key, ["agents"]))["cursor"]
    answer = await poll(node.base_url, key, ["agents", "chat:a"], cursor)
    assert [frame["type"] for frame in answer["frames"]] == ["subscribed"]
    async with node.open(key) as socket:
        await socket.ask({"type": "publish", "channel": "chat:a", "data": 1})
    again = await poll(node.base_url, key, ["agents", "chat:a"], answer["cursor"])
    assert [frame["type"] for frame in again["frames"]] == ["event"]


async def test_lost_place_is_reset_once(node: Node, key: str, clock: ManualClock):
    """With the cursor of the answer the client goes on."""
    answer = await poll(node.base_url, key, ["agents", "chat:a"], "garbage")
    assert [frame["type"] for frame in answer["frames"]] == ["subscribed", "reset", "reset"]
    again = await poll(node.base_url, key, ["agents", "chat:a"], answer["cursor"], wait=0)
    assert again["frames"] == []


async def test_half_told_event(node: Node, key: str, organisation: Organisation):
    """One answer has both frames of an event, or the cursor says so."""
    agent = f"agents:{uuid4()}"
    cursor = (await poll(node.base_url, key, ["agents", agent]))["cursor"]
    await node.emit(organisation.id, 3, agent)
    seen: list[tuple[str, str]] = []
    while len(seen) < 6:
        answer = await poll(node.base_url, key, ["agents", agent], cursor)
        cursor = answer["cursor"]
        seen += [(frame["channel"], frame["offset"]) for frame in answer["frames"]]
    assert seen == [(channel, str(number)) for number in (1, 2, 3) for channel in ("agents", agent)]


async def test_drain_answers(node: Node, key: str, clock: ManualClock):
    """With the slot, and the cursor to go on with."""
    cursor = (await poll(node.base_url, key, ["agents"]))["cursor"]
    waiting = asyncio.ensure_future(poll(node.base_url, key, ["agents"], cursor))
    await eventually(lambda: node.door.sockets and node.door.sockets[0].channels)
    draining = asyncio.create_task(node.door.drain(clock.monotonic() + 1))
    while not draining.done():
        await clock.advance(0.05)
    answer = await waiting
    assert answer["frames"][-1]["type"] == "disconnect"
    assert answer["cursor"] == cursor


async def test_client_that_goes_leaves_nothing(node: Node, key: str, organisation: Organisation, clock: ManualClock):
    """Seen within a second or two."""
    cursor = (await poll(node.base_url, key, ["agents"]))["cursor"]
    waiting = asyncio.ensure_future(poll(node.base_url, key, ["agents"], cursor))
    await eventually(lambda: node.door.connections == 1)
    waiting.cancel()

    async def is_gone() -> bool:
        await clock.advance(0.5)
        return node.door.connections == 0

    await eventually(is_gone)
    assert node.seats.held(organisation.id) == 0


async def test_nothing_of_another_organisation(
    node: Node, key: str, organisation: Organisation, organisations: Organisations
):
    other = await organisations.create()
    foreign = await other.key()
    cursor = (await poll(node.base_url, foreign, ["agents"]))["cursor"]
    await node.emit(organisation.id, 2)
    await node.logged(organisation.id, 2)
    assert (await poll(node.base_url, foreign, ["agents"], cursor, wait=0))["frames"] == []


async def test_room_with_a_beginning(
    database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation, key: str
):
    """What was said so far comes with the first answer, what follows with the next ones."""
    keeper = Keeper(random.Random(1))
    async with serve(database_url, redis_url, clock, beginnings=keeper) as node:
        channel = f"runs:{uuid4()}"
        writer = Writer(node.live, keeper, organisation.id, channel, random.Random(2))
        await writer.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_written(writer))
            first = await poll(node.base_url, key, [channel])
            frames, cursor = list(first["frames"]), first["cursor"]
            reader = Reader()
            while True:
                for frame in frames:
                    if frame["type"] == "event":
                        reader.take(frame["event"])
                if reader.is_done:
                    break
                answer = await poll(node.base_url, key, [channel], cursor)
                frames, cursor = answer["frames"], answer["cursor"]
        assert reader.text == writer.text


async def _written(writer: Writer) -> None:
    for _ in range(10):
        await writer.write(5)
    await writer.end()
