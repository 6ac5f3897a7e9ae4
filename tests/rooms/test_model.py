"""The model of log and tail keeps the promises of the real ones: one suite for both."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.events.event import LogHead
from rooms.recovery import ChannelLog
from tests.harness.organisations import Organisation
from tests.rooms.engines import world
from tests.rooms.model import Chance, MemoryLog, MemoryTail


class Both:
    """A log of ten entries with its tail, real or not."""

    def __init__(self, log: Any, tail: Any, organisation: Organisation, entries: list[Any]) -> None:
        self.log = log
        self.tail = tail
        self.org_id = organisation.id
        self.entries = entries


@pytest.fixture(params=["memory", "engines"])
async def both(
    request: pytest.FixtureRequest, database_url: str, redis_url: str, organisation: Organisation
) -> AsyncIterator[Both]:
    if request.param == "memory":
        chance = Chance(random.Random(1))
        log, tail = MemoryLog(chance), MemoryTail(chance)
        entries = [log.append(f"agents:{n % 3}", f'{{"n":{n}}}') for n in range(1, 11)]
        tail.publish("e1", entries)
        yield Both(log, tail, organisation, entries)
        return
    async with world(database_url, redis_url, organisation.id) as at:
        await at.writer.write(10)
        yield Both(at.log, at.writer.tails, organisation, at.writer.entries)


async def test_log(both: Both):
    """Head, dense ranges, and what concerns some channels, each once, by position."""
    log, org_id, entries = both.log, both.org_id, both.entries
    assert await log.head(org_id) == LogHead("e1", 10)
    assert await log.range(org_id, after=2, upto=8, limit=4) == entries[2:6]
    assert await log.range(org_id, after=8, upto=99, limit=4) == entries[8:]
    reader: ChannelLog = log
    all_of_them = await reader.read(org_id, ["agents", "agents:1"], after=0, upto=10, limit=99)
    assert all_of_them == entries
    assert (
        await reader.read(org_id, ["agents:1", "agents:2", "twins"], after=1, upto=9, limit=3)
        == [entry for entry in entries if entry.channel != "agents:0"][1:4]
    )


async def test_tail(both: Both):
    """A range whole or None; what ends at a position."""
    tail, org_id, entries = both.tail, both.org_id, both.entries
    assert await tail.read(org_id, "e1", after=2, upto=8) == entries[2:8]
    assert await tail.read(org_id, "e1", after=2, upto=11) is None
    assert await tail.read(org_id, "e0", after=2, upto=8) is None
    assert await tail.latest(org_id, "e1", upto=10, limit=4) == entries[6:]
    assert await tail.latest(org_id, "e1", upto=11, limit=4) == []
