"""Which clients are pinged and which are given up: the rules alone, and over sockets."""

from collections.abc import AsyncIterator

import pytest
from websockets.frames import Opcode

from hub.stream.heartbeat import Heartbeat, Pulse, Rhythm
from hub.stream.settings import StreamSettings
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, serve
from tests.hub.stream.raw_socket import PONG, RawSocket, frame, raw_socket

EXACT = StreamSettings(ping_spread=0.0)


@pytest.fixture
async def node(database_url: str, redis_url: str, clock: ManualClock) -> AsyncIterator[Node]:
    """A node whose pings come after exactly 25 s."""
    async with serve(database_url, redis_url, clock, settings=EXACT) as served:
        yield served


def beat(now: float = 0.0) -> Heartbeat:
    return Heartbeat(Rhythm(ping=25, spread=0, pong=8), now)


class TestRules:
    """No sockets, no clock."""

    def test_silence_is_pinged_then_given_up(self):
        """25 s, and 8 s more."""
        client = beat()
        assert [client.look(at, 0) for at in (24.5, 25.0, 25.5, 32.5, 33.0)] == [
            Pulse.ALIVE,
            Pulse.PING,
            Pulse.ALIVE,
            Pulse.ALIVE,
            Pulse.DEAD,
        ]

    def test_anything_heard_begins_anew(self):
        """A message before the ping, a pong after it."""
        client = beat()
        client.heard_at = 20.0
        assert (client.next, client.look(25.0, 0)) == (45.0, Pulse.ALIVE)
        assert client.look(45.0, 0) is Pulse.PING
        client.heard_at = 45.0  # the pong came in the moment of the ping
        assert [client.look(at, 0) for at in (53.0, 69.5, 70.0)] == [Pulse.ALIVE, Pulse.ALIVE, Pulse.PING]

    def test_client_that_takes_what_stands_before_the_ping_lives(self):
        """As long as it takes some of it every 8 s."""
        client = beat()
        assert client.look(25.0, 4_000_000) is Pulse.PING
        assert client.look(33.0, 3_000_000) is Pulse.ALIVE
        assert client.look(41.0, 1) is Pulse.ALIVE
        assert client.look(49.0, 1) is Pulse.DEAD

    def test_those_that_came_together_are_not_pinged_together(self):
        """Spread evenly over the last 5 of the 25 s."""
        rhythm = Rhythm(ping=25, spread=5, pong=8)
        moments = [Heartbeat(rhythm, 0.0).next for _ in range(1000)]
        assert min(moments) >= 20
        assert max(moments) <= 25
        tenths = [sum(20 + step / 2 <= each < 20.5 + step / 2 for each in moments) for step in range(10)]
        assert max(tenths) <= 110


async def pings(socket: RawSocket, count: int) -> None:
    await eventually(
        lambda: len([each for each in socket.frames if each.opcode is Opcode.PING]) >= count, what="a ping"
    )


async def test_silent_client_is_pinged_and_dropped(node: Node, key: str, clock: ManualClock):
    """Without a close frame: nobody would read it."""
    async with raw_socket(node, key) as socket:
        await clock.advance(24)
        assert not [each for each in socket.frames if each.opcode is Opcode.PING]
        await clock.advance(1.5)
        await pings(socket, 1)
        await clock.advance(7)
        assert node.door.connections == 1
        await clock.advance(2)
        await eventually(lambda: socket.has_ended and node.door.connections == 0, what="the end")
        assert socket.close is None
        assert node.door.counts.silent == 1


async def test_pong_keeps_it_and_so_does_anything_else(node: Node, key: str, clock: ManualClock):
    """The next ping comes 25 s after that."""
    async with raw_socket(node, key) as socket:
        for number, answer in enumerate((frame(PONG), frame(1, b'{"type":"ping"}')), 1):
            await clock.advance(25.5)
            await pings(socket, number)
            heard = [each.heartbeat.heard_at for each in node.door.sockets]
            socket.send(answer)
            await eventually(lambda: [each.heartbeat.heard_at for each in node.door.sockets] != heard)  # noqa: B023
        await clock.advance(20)
        assert node.door.connections == 1
        assert len([each for each in socket.frames if each.opcode is Opcode.PING]) == 2


async def test_client_that_speaks_is_not_pinged(node: Node, key: str, clock: ManualClock):
    """Whatever it says."""
    async with raw_socket(node, key) as socket:
        for _ in range(10):
            await clock.advance(10)
            socket.send(frame(1, b'{"type":"ping"}'))
            await socket.receive()
        assert not [each for each in socket.frames if each.opcode is Opcode.PING]
