"""Pub/sub on an own connection: what comes, in which order, and what it survives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
import redis.asyncio

from core.clock import Clock, SystemClock
from core.store.pubsub import PING_SECONDS, SILENT_PINGS, PubSub
from tests.harness.clock import ManualClock
from tests.harness.proxy import FaultProxies
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

Opening = Callable[..., Awaitable["Recorder"]]


class Recorder:
    """A PubSub and all that it said."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.batches: list[list[tuple[str, bytes]]] = []
        self.connections = 0
        self.again: list[list[str]] = []
        self.pubsub = PubSub(url, clock=clock, on_batch=self.batches.append, on_connected=self._connected)

    def _connected(self, channels: Sequence[str]) -> None:
        self.connections += 1
        self.again.append(sorted(channels))

    @property
    def messages(self) -> list[tuple[str, bytes]]:
        """Everything in the order in which it came."""
        return [message for batch in self.batches for message in batch]

    async def connected(self, times: int = 1) -> None:
        """Wait for the connection of this number."""
        await eventually(lambda: self.connections >= times, what=f"connection {times}")

    async def got(self, *payloads: bytes) -> None:
        """Wait until these payloads, and only these, have come."""
        await eventually(
            lambda: [payload for _, payload in self.messages] == list(payloads), what=f"messages {payloads}"
        )


@pytest.fixture
async def opening() -> AsyncIterator[Opening]:
    """Opens PubSubs and closes them."""
    opened: list[Recorder] = []

    async def open_one(url: str, clock: Clock | None = None) -> Recorder:
        recorder = Recorder(url, clock or SystemClock())
        opened.append(recorder)
        await recorder.pubsub.open()
        return recorder

    yield open_one
    for recorder in opened:
        await recorder.pubsub.close()


async def publish(url: str, *messages: tuple[str, bytes]) -> None:
    """Publish in one transaction, so that they leave Redis together."""
    async with redis.asyncio.from_url(url) as client, client.pipeline(transaction=True) as pipe:
        for channel, payload in messages:
            pipe.spublish(channel, payload)
        await pipe.execute()


async def test_what_is_published_after_the_confirmation_comes(opening: Opening, redis_url: str):
    """subscribe() returns only when Redis has it: the very next publish arrives."""
    recorder = await opening(redis_url)
    await recorder.pubsub.subscribe("a")
    await publish(redis_url, ("a", b"1"), ("b", b"not wanted"), ("a", b"2"))
    await recorder.got(b"1", b"2")


async def test_messages_that_come_together_are_handed_over_together(opening: Opening, redis_url: str):
    """One read of the socket is one call, in the order of Redis across channels."""
    recorder = await opening(redis_url)
    await asyncio.gather(recorder.pubsub.subscribe("a"), recorder.pubsub.subscribe("b"))
    sent = [("ab"[index % 2], b"%d" % index) for index in range(200)]
    await publish(redis_url, *sent)
    await eventually(lambda: len(recorder.messages) == 200)
    assert recorder.messages == sent
    assert len(recorder.batches) < 20


async def test_unsubscribed_channel_is_silent_and_can_be_had_again(opening: Opening, redis_url: str):
    """The confirmation of an older SUBSCRIBE is never taken for that of a later one."""
    recorder = await opening(redis_url)
    await recorder.connected()
    pubsub = recorder.pubsub
    for number in range(50):
        first = asyncio.ensure_future(pubsub.subscribe("a"))
        await asyncio.sleep(0)
        pubsub.unsubscribe("a")
        second = asyncio.ensure_future(pubsub.subscribe("a"))
        with pytest.raises(ConnectionError):
            await first
        await second
        await publish(redis_url, ("a", b"%d" % number))
        await eventually(lambda: recorder.messages[-1:] == [("a", b"%d" % number)])  # noqa: B023 - awaited here
        pubsub.unsubscribe("a")
    await publish(redis_url, ("a", b"unheard"))
    await pubsub.subscribe("b")
    await publish(redis_url, ("b", b"end"))
    await eventually(lambda: recorder.messages[-1] == ("b", b"end"))
    assert ("a", b"unheard") not in recorder.messages


@pytest.mark.parametrize("empty", [False, True])
async def test_redis_killed_and_started_again(opening: Opening, own_redis: OwnRedis, empty: bool):
    """Everything wanted is subscribed again before `on_connected` is called."""
    recorder = await opening(own_redis.url)
    channels = [f"c{number}" for number in range(1_200)]
    await asyncio.gather(*(recorder.pubsub.subscribe(channel) for channel in channels))
    own_redis.kill()
    await eventually(lambda: not recorder.pubsub.connected)
    late = asyncio.ensure_future(recorder.pubsub.subscribe("late"))
    own_redis.restart(empty=empty)
    await recorder.connected(2)
    await late
    await publish(own_redis.url, ("c0", b"1"), ("c1199", b"2"), ("late", b"3"))
    await recorder.got(b"1", b"2", b"3")


async def test_silent_redis_is_given_up_within_five_seconds(opening: Opening, own_redis: OwnRedis, clock: ManualClock):
    """A server that is stopped closes nothing; two pings without any byte end the connection."""
    recorder = await opening(own_redis.url, clock)
    await recorder.pubsub.subscribe("a")
    await recorder.connected()
    own_redis.pause()
    try:
        assert (SILENT_PINGS + 1) * PING_SECONDS < 5
        await clock.advance((SILENT_PINGS + 1) * PING_SECONDS)
        assert not recorder.pubsub.connected
    finally:
        own_redis.resume()

    async def moved_on() -> bool:
        await clock.advance(0.5)
        return recorder.connections == 2

    await eventually(moved_on)
    await publish(own_redis.url, ("a", b"after"))
    await recorder.got(b"after")


async def test_answering_redis_is_kept(opening: Opening, own_redis: OwnRedis, clock: ManualClock):
    """Pongs are enough: a channel without messages does not end the connection."""
    recorder = await opening(own_redis.url, clock)
    await recorder.pubsub.subscribe("a")
    async with redis.asyncio.from_url(own_redis.url) as client:
        for _ in range(10):
            heard = (await client.info("commandstats"))["cmdstat_ping"]["calls"]
            await clock.advance(PING_SECONDS)

            async def pinged(before: int = heard) -> bool:
                return (await client.info("commandstats"))["cmdstat_ping"]["calls"] > before

            await eventually(pinged)
    assert recorder.connections == 1
    assert recorder.pubsub.connected


async def test_connection_cut_in_the_middle_of_a_message(opening: Opening, own_redis: OwnRedis, proxies: FaultProxies):
    """Half a message is no message, and does not disturb those of the next connection."""
    proxy = await proxies.open(own_redis.url)
    recorder = await opening(proxy.url())
    await recorder.pubsub.subscribe("a")
    proxy.alive[0].down.cut_after(500)
    await publish(own_redis.url, ("a", b"x" * 1000))
    await recorder.connected(2)
    await publish(own_redis.url, ("a", b"whole"))
    await recorder.got(b"whole")


async def test_password_is_sent(opening: Opening, own_redis: OwnRedis):
    """A URL with a password logs in; one with a wrong password never counts as connected."""
    async with redis.asyncio.from_url(own_redis.url) as client:
        await client.config_set("requirepass", "s3cret")
    right = await opening(own_redis.url.replace("unix://", "unix://:s3cret@"))
    wrong = await opening(own_redis.url.replace("unix://", "unix://:wrong@"))
    await right.pubsub.subscribe("a")
    assert not wrong.pubsub.connected
    assert wrong.connections == 0


async def test_server_that_is_no_redis(opening: Opening):
    """What cannot be parsed ends the connection, and the next one is tried."""
    met: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(await reader.read(100))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        recorder = await opening(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        await eventually(lambda: len(met) >= 2)
        assert recorder.connections == 0
        await recorder.pubsub.close()


async def test_close_ends_who_waits(opening: Opening):
    """Without a Redis subscribe() waits; close() ends it with ConnectionError."""
    recorder = await opening("unix:///tmp/there-is-no-such-socket")
    waiting = asyncio.ensure_future(recorder.pubsub.subscribe("a"))
    await asyncio.sleep(0)
    await recorder.pubsub.close()
    with pytest.raises(ConnectionError):
        await waiting
