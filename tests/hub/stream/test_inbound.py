"""How much clients may send: by connection and by organisation, and how a flood ends."""

import json
from dataclasses import replace
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed

from core.auth.caller import Caller
from core.auth.tiers import TIERS
from hub.stream.inbound import BURST_SECONDS, FLOOD, FLOOD_SLOT_MS, ORGANISATION_SHARE, Inbound, Meter
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node
from tests.hub.stream.raw_socket import PING, TEXT, frame, raw_socket

ASK = '{"type":"ping","id":%d}'
FRAMES, BYTES = 10, 1000


def caller(frames: int = FRAMES, bytes: int = BYTES) -> Caller:
    limits = replace(TIERS["pro"], frames_per_second=frames, bytes_per_second=bytes)
    return Caller(uuid4(), "key:1", frozenset(), "pro", own_limits=limits)


class TestMeter:
    """Of one connection, with `now` in the test's hand."""

    def test_burst_then_so_many_a_second(self):
        """What a second does not use counts for the next, for no longer than a burst."""
        meter, who = Meter(Inbound()), caller()
        assert [meter.take(1, 100.0, who) for _ in range(round(FRAMES * BURST_SECONDS))] == [0.0] * 20
        assert meter.take(1, 100.0, who) == pytest.approx(1 / FRAMES)
        assert meter.take(1, 100.101, who) == 0.0
        assert meter.take(1, 100.102, who) > 0.0
        assert [meter.take(1, 500.0, who) for _ in range(20)] == [0.0] * 20
        assert meter.take(1, 500.0, who) > 0.0

    def test_bytes_count_where_they_are_more(self):
        """And a frame that is more than may ever be saved up goes alone."""
        meter, who = Meter(Inbound()), caller()
        assert meter.take(1500, 100.0, who) == 0.0
        assert meter.take(600, 100.0, who) == pytest.approx(0.1)
        assert meter.take(600, 100.11, who) == 0.0
        assert meter.take(1_000_000, 200.0, who) == 0.0
        assert meter.take(1_000_000, 201.0, who) == pytest.approx(1.0)

    def test_flood_is_who_goes_on_though_refused(self):
        """For as long again as a burst; who waits is none."""
        meter, who, node = Meter(Inbound()), caller(), Inbound()
        meter = Meter(node)
        outcomes = [meter.take(1, 100.0, who) for _ in range(41)]
        assert outcomes[:20] == [0.0] * 20
        assert all(0 < each < FLOOD for each in outcomes[20:40])
        assert outcomes[40] == FLOOD
        assert (node.refused, node.floods) == (21, 1)
        patient = Meter(node)
        for second in range(100):
            wait = 0.0
            for _ in range(FRAMES + 5):
                wait = max(wait, patient.take(1, 100.0 + second, who))
            assert wait < FLOOD

    def test_organisation_shares_what_ten_connections_have(self):
        """However many it has; another organisation does not notice, and nobody is a flood for what others sent."""
        node, who, other = Inbound(), caller(), caller()
        meters = [Meter(node) for _ in range(20)]
        waits = [meter.take(1, 100.0, who) for meter in meters for _ in range(round(FRAMES * BURST_SECONDS))]
        assert sum(wait == 0.0 for wait in waits) == pytest.approx(FRAMES * BURST_SECONDS * ORGANISATION_SHARE, abs=1)
        assert FLOOD not in waits
        assert Meter(node).take(1, 100.0, other) == 0.0
        assert Meter(node).take(1, 100.0, who) > 0.0

    def test_new_limits_count_at_once(self):
        """The credential was asked about again, and its organisation has others."""
        meter, who = Meter(Inbound()), caller(frames=1)
        assert [meter.take(1, 100.0, who) == 0.0 for _ in range(3)] == [True, True, False]
        more = replace(who, own_limits=replace(who.limits, frames_per_second=1000))
        assert meter.take(1, 100.1, more) == 0.0

    def test_clock_that_stands_still_or_goes_back_gives_nothing(self):
        """It is the monotonic one; still, nothing may come of it."""
        meter, who = Meter(Inbound()), caller()
        for _ in range(20):
            meter.take(1, 100.0, who)
        assert meter.take(1, 99.0, who) > 0.0


@pytest.fixture
async def bounded(organisations: Organisations, organisation: Organisation) -> Organisation:
    """An organisation whose connections send ten frames a second."""
    await organisations.limit(organisation, frames_per_second=FRAMES, bytes_per_second=1_000_000)
    return organisation


async def test_frame_over_the_rate_is_refused_by_name_and_the_next_second_takes_it(
    node: Node, bounded: Organisation, clock: ManualClock
):
    """With its id, and when to send it again; nothing of it is done."""
    async with node.open(await bounded.key()) as client:
        await client.expect("welcome")
        for number in range(20):
            await client.send(ASK % number)
        for _ in range(20):
            await client.expect("pong")
        refused = await client.ask({"type": "subscribe", "channels": ["agents"]})
        assert refused["type"] == "error"
        assert (refused["error"]["code"], refused["error"]["retry_after"]) == ("RATE_LIMIT_EXCEEDED", 1)
        assert node.door.sockets[0].channels == {}
        await clock.advance(1.0)
        assert (await client.subscribe("agents"))["channels"][0]["channel"] == "agents"
        assert node.door.counts.inbound.refused == 1


async def test_flood_is_sent_away_and_others_do_not_notice(
    node: Node, bounded: Organisation, organisations: Organisations
):
    """`disconnect` with a slot, then 4008; what it sent beyond is not read. Others of its organisation go on."""
    key = await bounded.key()
    async with node.open(key) as other, node.open(key) as client:
        await client.expect("welcome")
        for number in range(200):
            await client.send(ASK % number)
        away = await client.expect("disconnect")
        assert (away["code"], away["reconnect"], away["after_ms"]) == (4008, True, FLOOD_SLOT_MS)
        with pytest.raises(ConnectionClosed):
            while True:
                await client.receive()
        assert client.close_code == 4008
        assert sum(each["type"] == "pong" for each in client.frames) == 20
        assert node.door.counts.frames_in <= 42
        assert (await other.ask({"type": "ping"}))["type"] == "pong"
    async with node.open(await (await organisations.create()).key()) as stranger:
        assert (await stranger.ask({"type": "ping"}))["type"] == "pong"


async def test_pings_of_the_websocket_are_counted_too(node: Node, bounded: Organisation):
    """They cost about as much as a frame."""
    async with raw_socket(node, await bounded.key()) as socket:
        socket.send(frame(PING, b"x") * 100)
        assert await socket.close_code() == 4008


async def test_who_is_not_authenticated_has_the_least_of_limits(node: Node, clock: ManualClock):
    """A hundred bad frames end it before that, as ever."""
    async with node.open() as client:
        for _ in range(150):
            await client.send('{"type":"ping"}')
        with pytest.raises(ConnectionClosed):
            while True:
                await client.receive()
        assert client.close_code == 4504


async def test_limit_is_of_the_whole_organisation_on_a_node(
    node: Node, organisations: Organisations, organisation: Organisation
):
    """Thirty connections send what ten may; another organisation's frame is done."""
    await organisations.limit(organisation, frames_per_second=1, bytes_per_second=1_000_000)
    key = await organisation.key()
    sockets = [raw_socket(node, key) for _ in range(30)]
    opened = [await each.__aenter__() for each in sockets]
    try:
        for socket in opened:
            socket.send(frame(TEXT, (ASK % 1).encode()))
        answers = [json.loads(await socket.receive()) for socket in opened]
        assert sum(each["type"] == "pong" for each in answers) == 20
        await eventually(lambda: node.door.counts.inbound.refused == 10)
        async with node.open(await (await organisations.create()).key()) as stranger:
            assert (await stranger.ask({"type": "ping"}))["type"] == "pong"
        assert node.door.counts.inbound.floods == 0
    finally:
        for each in sockets:
            await each.__aexit__(None, None, None)
