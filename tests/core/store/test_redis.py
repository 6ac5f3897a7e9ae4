"""Redis commands: what the client must do beyond redis-py."""

import asyncio
import contextlib
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisIsAway

from core.store.redis import connect_redis
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually


@pytest.mark.parametrize("together", [False, True])
async def test_command_can_be_cancelled_at_any_moment(redis_url: str, together: bool):
    """A task that does nothing but commands ends when it is cancelled, in whatever turn of the loop that is."""
    redis = connect_redis(redis_url)

    async def work() -> None:
        while True:
            try:
                await (redis.together([("PING",)]) if together else redis.ping())
            except OSError:
                continue

    for turns in range(60):
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done, f"cancelled after {turns} turns, and still running"
        assert task.cancelled()
    await redis.aclose()


async def test_command_on_a_connection_that_has_just_died_is_an_error_of_redis(own_redis: OwnRedis):
    """Also in the moment in which its transport is closed and nobody was told: uvloop has a RuntimeError for that."""
    client = connect_redis(own_redis.url)
    connection = await client.connection_pool.get_connection()
    writer = connection._writer  # pyright: ignore[reportPrivateUsage] - the moment is seen nowhere else
    assert writer is not None
    own_redis.kill()
    try:
        await eventually(lambda: died(writer), what="a write has found out")
        with pytest.raises(RedisIsAway):
            await connection.send_packed_command([b"PING"], check_health=False)
    finally:
        await connection.disconnect()
    await client.connection_pool.release(connection)
    await client.aclose()


async def test_command_that_fails_can_be_cancelled_at_any_moment(own_redis: OwnRedis):
    """The error of a connection that has died does not take the place of a cancellation: its task would go on for ever."""
    client = connect_redis(own_redis.url)
    for turns in range(6):
        connection = await client.connection_pool.get_connection()
        own_redis.kill()
        writer: Any = connection._writer  # pyright: ignore[reportPrivateUsage] - the moment is seen nowhere else
        await eventually(lambda w=writer: died(w), what="a write has found out")
        task = asyncio.create_task(send_and_stay(connection))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done, f"cancelled after {turns} turns, and still there"
        await connection.disconnect()
        await client.connection_pool.release(connection)
        own_redis.start()
    await client.aclose()


async def test_connection_whose_server_takes_nothing_can_be_closed(own_redis: OwnRedis):
    """To close is no reason to fail, and what waits to be sent is dropped with the connection."""
    client = connect_redis(own_redis.url)
    connection = await client.connection_pool.get_connection()
    writer = connection._writer  # pyright: ignore[reportPrivateUsage] - what is left of it is seen nowhere else
    assert writer is not None
    own_redis.pause()
    try:
        writer.write(b"x" * 16 * 1024 * 1024)
        await client.aclose()
        await eventually(lambda: not writer.transport.get_write_buffer_size(), what="what waited is dropped")
    finally:
        own_redis.resume()


async def send_and_stay(connection: Any) -> None:
    """Send a command, and stay whatever becomes of it: until cancelled."""
    with contextlib.suppress(RedisIsAway):
        await connection.send_packed_command([b"PING"], check_health=False)
    await asyncio.Event().wait()


def died(writer: asyncio.StreamWriter) -> bool:
    """Write, and tell whether the transport has closed."""
    with contextlib.suppress(RuntimeError):
        writer.write(b"")
        writer.write(b"PING\r\n")
    return writer.transport.is_closing()
