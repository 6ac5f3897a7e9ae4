"""Nodes: who lives, and questions to all of them, over a real Redis."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from core.clock import SystemClock
from core.store.redis import connect_redis
from hub.nodes import Nodes
from rooms.switch import Switch
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

pytestmark = pytest.mark.each_redis

Start = Callable[[str], Awaitable[Nodes]]


@asynccontextmanager
async def node(redis_url: str, name: str) -> AsyncGenerator[Nodes]:
    """Run one node; leaving the context is its orderly end."""
    clock = SystemClock()
    redis, switch = connect_redis(redis_url), Switch(redis_url, clock=clock)
    await switch.open()
    nodes = Nodes(redis, switch, clock, node=name)
    running = asyncio.create_task(nodes.run())
    try:
        await eventually(lambda: switch.connected and name in nodes.living, what=f"{name} is there")
        yield nodes
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await nodes.close()
        await switch.close()
        await redis.aclose()


@pytest.fixture
async def start(redis_url: str):
    """Starts nodes that answer `who` with their name."""
    async with AsyncExitStack() as stack:

        async def started(name: str) -> Nodes:
            made = await stack.enter_async_context(node(redis_url, name))
            made.answer("who", lambda body: {"name": name} if body.get("only") in (None, name) else None)
            return made

        yield started


async def all_answer(asker: Nodes, count: int) -> None:
    async def heard() -> bool:
        return len((await asker.ask("who", {})).bodies) == count

    await eventually(heard, what=f"{count} nodes answer")


async def test_every_node_answers_a_question(start: Start):
    """The asker's own answer is among them, and the answer says that nobody is missing."""
    nodes = [await start(name) for name in ("a", "b", "c")]
    await all_answer(nodes[0], 3)
    answers = await nodes[0].ask("who", {})
    assert answers.bodies == {name: {"name": name} for name in ("a", "b", "c")}
    assert answers.is_whole
    assert nodes[0].living == {"a", "b", "c"}


async def test_first_answer_is_enough_where_one_is_wanted(start: Start):
    """Who has nothing to say does not count as an answer."""
    nodes = [await start(name) for name in ("a", "b", "c")]
    await all_answer(nodes[0], 3)
    assert (await nodes[0].ask("who", {"only": "b"}, one=True)).bodies == {"b": {"name": "b"}}
    nobody = await nodes[0].ask("who", {"only": "z"}, one=True)
    assert (nobody.bodies, nobody.is_whole) == ({}, True)


async def test_node_that_leaves_is_not_waited_for(start: Start, redis_url: str):
    """An orderly end takes a node out of those that live."""
    first = await start("a")
    async with node(redis_url, "b"):
        await eventually(lambda: _knows(first, {"a", "b"}), what="both live")
    assert (await first.ask("who", {})).is_whole
    assert first.living == {"a"}


async def test_node_that_hears_nothing_is_missing_in_the_answer(start: Start, redis_url: str):
    """A living node without its pub/sub connection may hold streams: the answer says that it is not whole."""
    first = await start("a")
    redis = connect_redis(redis_url)
    deaf = Nodes(redis, Switch(redis_url, clock=SystemClock()), SystemClock(), node="deaf")
    assert not (await deaf.ask("who", {})).is_whole, "it holds a lease now, and has subscribed to nothing"
    answers = await first.ask("who", {})
    assert (set(answers.bodies), answers.is_whole) == ({"a"}, False)
    await redis.aclose()


async def test_node_without_redis_answers_for_itself(own_redis: OwnRedis):
    """Redis away: what the node has itself is there, and it says that this is not all."""
    async with node(own_redis.url, "a") as alone:
        alone.answer("who", lambda _body: {"name": "a"})
        own_redis.kill()
        answers = await alone.ask("who", {})
        assert (answers.bodies, answers.is_whole) == ({"a": {"name": "a"}}, False)


async def test_message_of_another_release_does_no_harm(start: Start, redis_url: str):
    """What cannot be read is left alone, and the node goes on answering."""
    nodes = [await start(name) for name in ("a", "b")]
    redis = connect_redis(redis_url)
    for text in (b"no json", b"[]", b'{"v":9,"ask":"who"}', b'{"v":1,"from":"z","ask":"who"}'):
        await redis.spublish("nodes", text)
    await all_answer(nodes[0], 2)
    await redis.aclose()


async def test_what_is_told_to_one_node_is_heard_by_it_alone(start: Start):
    """Whoever is not there hears nothing, and the teller knows."""
    first, second = await start("a"), await start("b")
    await all_answer(first, 2)
    heard: list[tuple[str, object]] = []
    for each in (first, second):
        each.listen("news", lambda body, name=each.node: heard.append((name, body["text"])))
    assert await first.tell("b", "news", {"text": "hello"})
    await eventually(lambda: heard == [("b", "hello")])
    assert await first.tell("a", "news", {"text": "to myself"})
    assert heard[1:] == [("a", "to myself")]
    assert not await first.tell("nobody", "news", {"text": "?"})


async def _knows(asker: Nodes, names: set[str]) -> bool:
    await asker.ask("who", {})
    return set(asker.living) == names
