"""The way out to one client, over a real socket: order, bounds, and what a client that does not read costs."""

import asyncio

from hub.stream.codes import RESTART
from hub.stream.frames import TEXT, frame_close, framed
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually
from tests.hub.stream.peers import Peer, peers


def text(number: int, size: int = 0) -> bytes:
    return framed(b"[%d,%b]" % (number, b'"' + b"x" * size + b'"'), TEXT)


async def numbers(peer: Peer, count: int) -> list[int]:
    """Read `count` text frames and return their numbers."""
    got: list[int] = []

    def enough() -> bool:
        peer.read_some()
        got[:] = [int(bytes(frame.data)[1:].partition(b",")[0]) for frame in peer.frames if frame.opcode == 1]
        return len(got) >= count

    await eventually(enough, what=f"{count} text frames")
    return got


async def test_frames_leave_in_order_through_a_full_transport(clock: ManualClock):
    """What was queued while the client did not read comes before what is written after it reads again."""
    async with peers(clock) as [peer]:
        sent = 0
        peer.fill()
        for sent in range(500):
            assert peer.outbound.write(text(sent, 1000))
        assert await numbers(peer, 100)
        for _ in range(100):
            sent += 1
            peer.outbound.write(text(sent, 1000))
            peer.read_some()
            await asyncio.sleep(0)
        assert await numbers(peer, sent + 1) == list(range(sent + 1))


async def test_bytes_that_wait_are_bounded(clock: ManualClock):
    """A write while more than the bound waits says so; one large write alone is no fault of the client."""
    async with peers(clock, max_bytes=10_000) as [peer]:
        peer.fill()
        assert peer.outbound.write(b"x" * 10_000)
        assert peer.outbound.write(b"x" * 50_000)
        assert not peer.outbound.write(b"x")


async def test_age_of_what_waits_is_bounded(clock: ManualClock):
    """Anything that waits over 10 s makes the next write, and the next look, say so."""
    async with peers(clock) as [peer]:
        peer.fill()
        peer.outbound.write(text(1))
        await clock.advance(10)
        assert not peer.outbound.is_stuck()
        assert peer.outbound.write(text(2))
        await clock.advance(1)
        assert peer.outbound.is_stuck()
        assert not peer.outbound.write(text(3))


async def test_full_transport_without_a_queue_gets_old_too(clock: ManualClock):
    """Nothing more is written, and still the buffer must not be held for ever: the looks count."""
    async with peers(clock) as [peer]:
        peer.fill()
        assert not peer.outbound.is_stuck()
        await clock.advance(11)
        assert peer.outbound.is_stuck()


async def test_client_that_reads_is_never_stuck(clock: ManualClock):
    """It is over high water again and again, and takes what comes."""
    async with peers(clock) as [peer]:
        for sent in range(4):
            peer.fill()
            peer.outbound.write(text(sent))
            await numbers(peer, sent + 1)
            await clock.advance(9)
            assert not peer.outbound.is_stuck()


async def test_drained_waits_for_the_client(clock: ManualClock):
    """A recovery goes on when what it wrote has been read, not before."""
    async with peers(clock) as [peer]:
        await peer.outbound.drained()  # nothing waits
        peer.fill()
        peer.outbound.write(text(1))
        waiting = asyncio.ensure_future(peer.outbound.drained())
        other = asyncio.ensure_future(peer.outbound.drained())
        await clock.settle()
        assert not waiting.done()
        other.cancel()  # one that is cancelled does not end the other's wait
        await numbers(peer, 1)
        await asyncio.wait_for(waiting, 5)
        assert other.cancelled()


async def test_drained_returns_when_the_connection_ends(clock: ManualClock):
    """Whoever waits for a client that is gone is let go."""
    async with peers(clock, 2) as [shut, lost]:
        for peer in (shut, lost):
            peer.fill()
        waits = [asyncio.ensure_future(peer.outbound.drained()) for peer in (shut, lost)]
        await clock.settle()
        shut.outbound.shut()
        lost.far.close()
        await asyncio.wait_for(asyncio.gather(*waits), 5)


async def test_shut_drops_what_waits_and_says_goodbye(clock: ManualClock):
    """A client that was slow and reads on learns why it was cut; memory is given back at once."""
    async with peers(clock) as [peer]:
        peer.fill()
        for number in range(100):
            peer.outbound.write(text(number, 1000))
        peer.outbound.shut(frame_close(RESTART))
        peer.outbound.write(text(200))
        await eventually(lambda: (peer.read_some(), peer.frames and peer.frames[-1].opcode == 8)[1])
        assert not [frame for frame in peer.frames if frame.opcode == 1]


async def test_write_to_a_lost_connection_is_dropped(clock: ManualClock):
    """Uvloop raises for a closed transport; nobody who writes to many members may see that."""
    async with peers(clock) as [peer]:
        peer.transport.close()
        assert peer.outbound.write(text(1))
        await eventually(lambda: peer.flow.is_lost)
        assert peer.outbound.write(text(2))
        assert peer.outbound.is_gone
