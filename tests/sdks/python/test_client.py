"""The client against a node: what readers are given, what requests answer, and what is left when it is closed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aimatrix.live import (
    AnswerLost,
    Changed,
    ChannelRefused,
    CredentialRefused,
    Event,
    LiveClient,
    NotAnswered,
    Place,
    RequestRefused,
    State,
    Stopped,
)
from tests.harness.hurried_clock import HurriedClock
from tests.harness.organisations import Organisation
from tests.harness.proxy import FaultProxies
from tests.harness.waiting import cancelled, eventually
from tests.hub.stream.node import Node
from tests.sdks.python.following import OpenClient, http, numbers, taken


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_events_come_in_order_in_both_forms(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient, form: str
):
    """Whole, with their places."""
    live = open_client(http(node.url), key, form=form)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        sent = await node.emit(organisation.id, 5)
        event = await anext(agents)
        assert (event.type, event.channel, event.data["number"]) == ("agent.updated", "agents", sent[0])
        assert event.id == event.body["id"]
        assert agents.place == event.place
        assert numbers(await taken(agents, 4)) == sent[1:]
    assert live.subject is not None
    assert live.subject.startswith("key:")


async def test_compressed_stream_is_the_same(node: Node, organisation: Organisation, key: str, open_client: OpenClient):
    """permessage-deflate, where it is asked for."""
    live = open_client(http(node.url), key, compression=True)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        sent = await node.emit(organisation.id, 5, padding=4000)
        assert numbers(await taken(agents, 5)) == sent


async def test_place_that_was_kept_goes_on_after_it(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient
):
    """In another client, as after a restart of the program; since a time, too."""
    live = open_client(http(node.url), key)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        sent = await node.emit(organisation.id, 4)
        first = await anext(agents)
    other = open_client(http(node.url), key)
    async with other.subscribe("agents", place=first.place) as agents:
        assert numbers(await taken(agents, 3)) == sent[1:]
        assert agents.recovered
    async with other.subscribe("agents", since=datetime.now(UTC) - timedelta(hours=1)) as agents:
        assert numbers(await taken(agents, 4)) == sent


async def test_one_socket_and_one_subscription_for_many_readers(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient
):
    """Each gets every event; the channel is left with the last of them, and asked for anew after that."""
    live = open_client(http(node.url), key)
    readers = [live.subscribe("agents") for _ in range(3)]
    for each in readers:
        await each.joined()
    sent = await node.emit(organisation.id, 2)
    for each in readers:
        assert numbers(await taken(each, 2)) == sent
    for each in readers[:2]:
        each.close()
    (number,) = await node.emit(organisation.id)
    assert numbers(await taken(readers[2], 1)) == [number]
    readers[2].close()
    with pytest.raises(StopAsyncIteration):
        await anext(readers[2])
    async with live.subscribe("agents") as again:
        await again.joined()
        (number,) = await node.emit(organisation.id)
        assert numbers(await taken(again, 1)) == [number]


async def test_twenty_tasks_read_one_client(node: Node, organisation: Organisation, key: str, open_client: OpenClient):
    """Ten of a subscription each, ten of one together: nothing is lost, nothing comes to two of those."""
    live = open_client(http(node.url), key)
    shared = live.subscribe("agents")
    own = [live.subscribe("agents") for _ in range(10)]
    seen: list[list[int]] = [[] for _ in range(20)]

    async def read(number: int) -> None:
        async for event in own[number] if number < 10 else shared:
            seen[number].append(event.data["number"])
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(read(number)) for number in range(20)]
    await shared.joined()
    sent = await node.emit(organisation.id, 500)
    await eventually(lambda: sum(len(each) for each in seen) == 11 * len(sent))
    for task in tasks:
        await cancelled(task)
    assert all(each == sent for each in seen[:10])
    assert sorted(number for each in seen[10:] for number in each) == sent


async def test_reader_that_is_cancelled_loses_nothing(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient
):
    """An impatient program asks again and again for the next event, with a time limit that is over at once."""
    live = open_client(http(node.url), key)
    came: list[int] = []
    async with live.subscribe("agents") as agents:
        await agents.joined()
        sent = await node.emit(organisation.id, 200)

        async def impatient() -> bool:
            waiting = asyncio.ensure_future(anext(agents))
            await asyncio.sleep(0)
            waiting.cancel()
            done = await asyncio.gather(waiting, return_exceptions=True)
            came.extend(each.data["number"] for each in done if isinstance(each, Event))
            return len(came) == len(sent)

        await eventually(impatient)
    assert came == sent


async def test_slow_reader_pushes_back_and_loses_nothing(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient
):
    """A reader that takes nothing holds no more than its buffer, and nobody else; once it reads, it gets all of it, in order."""
    live = open_client(http(node.url), key, buffer=50)
    async with live.subscribe("agents") as slow, live.subscribe("twins") as quick:
        await slow.joined()
        await quick.joined()
        sent = await node.emit(organisation.id, 2000, "agents:0192a1b2-0000-7000-8000-000000000001")
        await eventually(lambda: slow.is_full)
        for _ in range(20):
            (number,) = await node.emit(organisation.id, 1, "twins:0192a1b2-0000-7000-8000-000000000002")
            assert numbers(await taken(quick, 1)) == [number]
            assert slow.waiting <= 50
        assert numbers(await taken(slow, 2000)) == sent
        (number,) = await node.emit(organisation.id, 1, "agents:0192a1b2-0000-7000-8000-000000000001")
        assert numbers(await taken(slow, 1)) == [number]
    assert live.state is State.LIVE


async def test_reader_that_is_only_busy_is_not_asked_to_come_back(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient
):
    """With a buffer of few and events in plenty: the client waits for a reader that takes what there is."""
    live = open_client(http(node.url), key, buffer=4)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        sent = await node.emit(organisation.id, 1000)
        assert numbers(await taken(agents, 1000)) == sent


async def test_publish_history_and_call_answer(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient
):
    """What the hub answers, and its errors as exceptions."""
    live = open_client(http(node.url), key)
    async with live.subscribe("chat:lobby") as lobby:
        await lobby.joined()
        place = await live.publish("chat:lobby", {"text": "Hello"})
        event = await anext(lobby)
        assert (event.data, event.place.offset) == ({"text": "Hello"}, place["offset"])
    kept = await live.history("chat:lobby", limit=10)
    assert [each["event"]["data"] for each in kept["events"]] == [{"text": "Hello"}]
    assert (await live.history("chat:lobby", after=Place(kept["offset"], kept["epoch"])))["events"] == []
    agent = await live.call("agents.create", {"name": "Ada", "type": "assistant"}, idempotency_key="k")
    again = await live.call("agents.create", {"name": "Ada", "type": "assistant"}, idempotency_key="k")
    assert agent["id"] == again["id"]
    with pytest.raises(RequestRefused) as refused:
        await live.call("agents.get", {"id": "0192a1b2-0000-7000-8000-000000000001"})
    assert refused.value.code == "RESOURCE_NOT_FOUND"


async def test_refused_channel_ends_its_reader_and_no_other(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient
):
    """By name where it is not there; the others are live."""
    live = open_client(http(node.url), key)
    nowhere, agents = live.subscribe("nowhere:x"), live.subscribe("agents")
    with pytest.raises(ChannelRefused) as refused:
        await nowhere.joined()
    assert (refused.value.channel, refused.value.code) == ("nowhere:x", "CHANNEL_NOT_FOUND")
    with pytest.raises(ChannelRefused):
        await anext(nowhere)
    await agents.joined()
    sent = await node.emit(organisation.id, 1)
    assert numbers(await taken(agents, 1)) == sent


async def test_bad_credential_stops_the_client(node: Node, open_client: OpenClient):
    """And everybody who waits hears of it."""
    live = open_client(http(node.url), "aim_live_nobody")
    with pytest.raises(CredentialRefused):
        await live.subscribe("agents").joined()
    with pytest.raises(CredentialRefused):
        await live.live()
    with pytest.raises(CredentialRefused):
        await live.publish("chat:lobby", {})
    with pytest.raises(CredentialRefused):
        await anext(live.subscribe("agents"))


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])
async def test_credential_comes_from_a_callback(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient, is_async: bool
):
    """It is asked once, again after a refusal, and again after it has failed itself."""
    answers: list[str | Exception] = [OSError("the vault is away"), "aim_live_of_yesterday", key]

    def give() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def give_later() -> str:
        await asyncio.sleep(0)
        return give()

    live = open_client(http(node.url), credential=give_later if is_async else give, draw=lambda: 0.0)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        sent = await node.emit(organisation.id, 1)
        assert numbers(await taken(agents, 1)) == sent
    assert answers == []


async def test_credential_that_does_not_come_is_asked_for_again(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient
):
    """The call for it never ends: it is given up after 30 s, and what it was waiting for is let go."""
    clock = HurriedClock(15.0)
    given_up = asyncio.Event()

    async def give() -> str:
        if given_up.is_set():
            return key
        try:
            return await asyncio.Future[str]()
        finally:
            given_up.set()

    states: list[Changed] = []
    live = open_client(http(node.url), credential=give, clock=clock, draw=lambda: 0.0, on_state=states.append)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        sent = await node.emit(organisation.id, 1)
        assert numbers(await taken(agents, 1)) == sent
    assert next(each.why for each in states if each.state is State.WAITING) == "no credential in time"


async def test_request_has_a_time(node: Node, key: str, open_client: OpenClient, proxies: FaultProxies):
    """The network swallows the answer, and a hub that is not there gives none; one that is cut may have happened."""
    gate = await proxies.open(node.url)
    live = await open_client(gate.url(), key).live()
    for each in gate.alive:
        each.down.freeze()
    with pytest.raises(NotAnswered):
        await live.publish("chat:lobby", {}, timeout=0.05)
    asking = asyncio.create_task(live.publish("chat:lobby", {}))
    repeatable = asyncio.create_task(live.history("chat:lobby"))
    await eventually(lambda: gate.alive[0].up.passed > 0)
    await asyncio.sleep(0)
    gate.cut_all()
    with pytest.raises(AnswerLost):
        await asking
    assert (await repeatable)["channel"] == "chat:lobby"


async def test_close_leaves_no_task_and_no_socket(
    node: Node, organisation: Organisation, key: str, proxies: FaultProxies
):
    """Whatever it is doing: live, with readers and requests that wait, or on its way back to a hub that is not there."""
    before = asyncio.all_tasks()
    gate = await proxies.open(node.url)
    live = await LiveClient(gate.url(), api_key=key).start().live()
    agents = live.subscribe("agents")
    await agents.joined()
    reading = asyncio.ensure_future(anext(agents, None))
    await asyncio.sleep(0)
    await live.close()
    assert await reading is None
    with pytest.raises(Stopped):
        await live.publish("chat:lobby", {})
    await eventually(lambda: not gate.alive, what="the socket is closed")
    await gate.refuse()
    away = LiveClient(gate.url(), api_key=key).start()
    waiting = asyncio.ensure_future(away.history("chat:lobby"))
    await eventually(lambda: away.state is State.WAITING)
    await away.close()
    with pytest.raises(Stopped):
        await waiting
    assert {task for task in asyncio.all_tasks() - before if task.get_name().startswith("aimatrix")} == set()


async def test_close_that_is_cancelled_leaves_nothing_either(node: Node, key: str, proxies: FaultProxies):
    """A program that has no patience: the socket is dropped where the goodbye is not answered."""
    gate = await proxies.open(node.url)
    live = await LiveClient(gate.url(), api_key=key).start().live()
    for each in gate.alive:
        each.up.freeze()
    closing = asyncio.create_task(live.close())
    for _ in range(3):
        await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await eventually(lambda: not [each for each in asyncio.all_tasks() if each.get_name().startswith("aimatrix")])


async def test_client_starts_again_after_it_was_closed(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient
):
    """With readers of its own."""
    live = await open_client(http(node.url), key).live()
    await live.close()
    await live.start().live()
    async with live.subscribe("agents") as agents:
        await agents.joined()
        sent = await node.emit(organisation.id, 1)
        assert numbers(await taken(agents, 1)) == sent


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "api_key"),
        ({"api_key": "a", "credential": lambda: "b"}, "api_key"),
        ({"api_key": "a", "buffer": 0}, "buffer"),
        ({"api_key": "a", "form": "xml"}, "xml"),
    ],
    ids=["no-credential", "two-credentials", "no-buffer", "other-form"],
)
def test_arguments_are_checked(arguments: dict[str, Any], words: str):
    """Before anything is opened."""
    with pytest.raises(ValueError, match=words):
        LiveClient("http://127.0.0.1:1", **arguments)


async def test_beginning_is_checked(node: Node, key: str, open_client: OpenClient):
    """It is said once, by the first reader, in one way."""
    live = open_client(http(node.url), key)
    with pytest.raises(ValueError, match="begins"):
        live.subscribe("agents", place=Place("1", "k"), since=datetime.now(UTC))
    with pytest.raises(ValueError, match="digits"):
        live.subscribe("agents", place=Place("-1", "k"))
    with pytest.raises(ValueError, match="time zone"):
        live.subscribe("agents", since=datetime(2026, 1, 1))
    live.subscribe("agents")
    with pytest.raises(ValueError, match="read already"):
        live.subscribe("agents", place=Place("1", "k"))
