"""What waits for slow readers, bounded for an organisation and for a node: the accounts alone, then over sockets."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

from hub.stream.codes import SLOW_READER
from hub.stream.settings import StreamSettings
from hub.stream.waiting import Account, Waiting
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.stream_client import StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve

KIB = 1024


class Reader:
    """A connection that holds what it is told to."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.held_bytes = 0
        self.is_cut = False
        account.members[self] = None

    def wait(self, size: int) -> None:
        self.held_bytes += size
        self._account.add(size)

    def cut_slow(self) -> None:
        self.is_cut = True
        self._account.members.pop(self)
        self._account.add(-self.held_bytes)
        self.held_bytes = 0


async def test_worst_of_an_organisation_are_cut_until_the_rest_fits():
    """Not before the next turn, and no more than that takes."""
    waiting = Waiting(per_organisation=100, most=10_000)
    account = waiting.of(uuid4())
    readers = [Reader(account) for _ in range(4)]
    for reader, size in zip(readers, (10, 50, 30, 40), strict=True):
        reader.wait(size)
    assert not any(reader.is_cut for reader in readers)
    await asyncio.sleep(0)
    assert [reader.is_cut for reader in readers] == [False, True, False, False]
    assert (waiting.bytes, account.bytes, waiting.cut) == (80, 80, 1)


async def test_what_is_too_much_for_the_node_comes_from_where_most_waits():
    """Whose own bound is not passed."""
    waiting = Waiting(per_organisation=1000, most=1000)
    small, large = waiting.of(uuid4()), waiting.of(uuid4())
    modest = Reader(small)
    modest.wait(400)
    greedy = [Reader(large) for _ in range(10)]
    for reader in greedy:
        reader.wait(70)
    await asyncio.sleep(0)
    assert not modest.is_cut
    assert sum(reader.is_cut for reader in greedy) == 2
    assert waiting.bytes == 400 + 8 * 70


async def test_account_is_one_for_an_organisation_and_goes_with_its_last_connection():
    """Many organisations come and go."""
    waiting = Waiting(per_organisation=100, most=100)
    org_id = uuid4()
    account = waiting.of(org_id)
    assert waiting.of(org_id) is account
    number = id(account)
    reader = Reader(account)
    reader.wait(5)
    reader.cut_slow()
    del account, reader
    assert waiting.of(org_id).bytes == 0 or id(waiting.of(org_id)) != number


async def slow_until(node: Node, organisation: Organisation, stack: AsyncExitStack, count: int) -> list[StreamClient]:
    """Return readers that have stopped reading, with something waiting for each."""
    key = await organisation.key()
    slow = [await stack.enter_async_context(node.joined(key, "agents")) for _ in range(count)]
    for client in slow:
        client.socket.transport.pause_reading()
    return slow


def held(node: Node, organisation: Organisation) -> int:
    return node.door.waiting.of(organisation.id).bytes


async def emit_until_some_waits(node: Node, organisation: Organisation) -> list[int]:
    """Return the numbers of the events; the kernel, whose buffers grow as it likes, may still take what waits now."""
    numbers: list[int] = []
    async with node.joined(await organisation.key(), "agents") as reader:
        while not held(node, organisation):
            numbers += await node.emit(organisation.id, 5, padding=30_000)
            await reader.events(5)
    return numbers


async def test_slow_readers_of_one_organisation_leave_the_other_alone(
    database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation, organisations: Organisations
):
    """Those of the first are cut, long before each has its own 4 MiB waiting; one that reads gets all; the other's waits on."""
    settings = StreamSettings(waiting_bytes_of_organisation=1000 * KIB, waiting_bytes_of_node=100_000 * KIB)
    other = await organisations.create()
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(serve(database_url, redis_url, clock, settings=settings))
        (patient,) = await slow_until(node, other, stack, 1)
        slow = await slow_until(node, organisation, stack, 3)
        reader = await stack.enter_async_context(node.joined(await organisation.key(), "agents"))
        waiting = await emit_until_some_waits(node, other)
        while not node.door.waiting.cut:
            await node.emit(organisation.id, 5, padding=30_000)
            await reader.events(5)
        assert held(node, organisation) <= 1000 * KIB
        ended = [each for each in node.door.sockets if each.ending is SLOW_READER]
        assert 1 <= len(ended) <= 3
        assert all(each.caller is not None and each.caller.org_id == organisation.id for each in ended)
        for client in slow:
            client.socket.transport.resume_reading()
        closed = node.door.counts.closed
        await eventually(lambda: sum(closed.values()) >= 1)
        patient.socket.transport.resume_reading()
        assert numbers_of(await patient.events(len(waiting))) == waiting
        await eventually(lambda: held(node, other) == 0, what="nothing waits for it any more")


async def test_node_takes_it_from_the_organisation_for_which_most_waits(
    database_url: str, redis_url: str, clock: ManualClock, organisation: Organisation, organisations: Organisations
):
    """Whoever has the smaller share keeps it."""
    settings = StreamSettings(waiting_bytes_of_organisation=100_000 * KIB, waiting_bytes_of_node=1500 * KIB)
    other = await organisations.create()
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(serve(database_url, redis_url, clock, settings=settings))
        (patient,) = await slow_until(node, other, stack, 1)
        await slow_until(node, organisation, stack, 2)
        waiting = await emit_until_some_waits(node, other)
        while not node.door.waiting.cut:
            await node.emit(organisation.id, 2, padding=30_000)
            await clock.settle()
        (ended, *_) = [each for each in node.door.sockets if each.ending is SLOW_READER]
        assert ended.caller is not None
        assert ended.caller.org_id == organisation.id
        assert node.door.waiting.bytes <= 1500 * KIB
        patient.socket.transport.resume_reading()
        assert numbers_of(await patient.events(len(waiting))) == waiting
