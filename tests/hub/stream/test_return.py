"""Many sockets that come back at the same time, over real engines."""

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from core.events.event import Entry, LogHead
from core.events.log import LogReader
from core.store.database import Database
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.hub.stream.node import Node, numbers_of, serve

OLD = 4_500  # more than a ring holds


class CountedLog:
    """A log that counts the reads of recoveries."""

    def __init__(self, log: LogReader) -> None:
        self.reads = 0
        self._log = log

    async def head(self, org_id: UUID) -> LogHead:
        return await self._log.head(org_id)

    async def read(self, org_id: UUID, channels: Collection[str], **where: Any) -> list[Entry]:
        self.reads += 1
        return await self._log.read(org_id, channels, **where)

    async def position_at(self, org_id: UUID, moment: datetime) -> int:
        return await self._log.position_at(org_id, moment)

    async def position_of(self, org_id: UUID, event_id: UUID) -> int | None:
        return await self._log.position_of(org_id, event_id)


async def test_return_of_many_costs_a_few_reads(
    database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
):
    """200 sockets of both forms, from nearby offsets further back than memory reaches; each gets what it missed."""
    database = Database(database_url, role="hub_app")
    await database.open()
    log = CountedLog(LogReader(database))
    async with serve(database_url, redis_url, clock, log=log) as node:
        await node.emit(organisation.id, 40, f"twins:{organisation.id}")
        await node.emit(organisation.id, OLD)
        await node.logged(organisation.id, OLD + 40)
        await asyncio.gather(*(come_back(node, key, number) for number in range(200)))
        assert log.reads <= 5
    await database.close()


async def come_back(node: Node, key: str, number: int) -> None:
    offset = number % 20
    subprotocols = ["aimatrix.msgpack" if number % 2 else "aimatrix.json"]
    async with node.open(key, subprotocols=subprotocols) as client:
        answer = await client.subscribe({"channel": "twins", "offset": str(offset)})
        assert answer["channels"][0]["recovered"] is True
        assert numbers_of(await client.events(40 - offset, within=30)) == list(range(offset + 1, 41))
        await client.ask({"type": "ping"}, within=30)


async def test_return_on_the_warm_path_needs_no_postgresql(
    database_url: str, redis_url: str, clock: ManualClock, key: str, organisation: Organisation
):
    """Credential just looked up, feed present, what was missed in memory: the pool can be shut."""
    async with serve(database_url, redis_url, clock) as node, node.open(key) as stays:
        await stays.subscribe("agents", "knowledge", "twins")
        await node.emit(organisation.id, 20, "agents")
        await stays.events(20)
        await node.database.close()
        async with node.open(key) as client:
            channels = [{"channel": name, "offset": "0"} for name in ("agents", "knowledge", "twins")]
            answer = await client.subscribe(*channels)
            assert [each["recovered"] for each in answer["channels"]] == [True] * 3
            assert numbers_of(await client.events(20)) == list(range(1, 21))
