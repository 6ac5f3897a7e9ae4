"""The ledger of subscriptions at full size: SOAK_EVENTS (50,000) through 20 of them while SOAK_KILLS (40) are killed.

`make soak ARGS="-k deliveries"`; FAULT_SEED gives the seed. The figures are printed, also of a run that failed.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.faults.deliveries import live, world
from tests.faults.subscribers import MANY, Kind, Pulls, Sockets, Webhooks
from tests.harness.engines import PrivateEngines
from tests.harness.hub_process import HubProcesses

SUBJECTS = 300
REST_SECONDS = 1_800.0
VICTIMS = ("relay", "node", "work", "postgres", "pull", "socket", "webhook")


@pytest.mark.deadline(0)
async def test_nothing_is_lost_whatever_is_killed(
    private_engines: PrivateEngines, hubs: HubProcesses, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Nothing is lost, order is kept, doubles have a reason and the same id."""
    events = int(os.environ.get("SOAK_EVENTS") or 50_000)
    kills = int(os.environ.get("SOAK_KILLS") or 40)
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(2**32))
    chance = random.Random(seed)
    schedule = [VICTIMS[n] if n < len(VICTIMS) else chance.choice(VICTIMS) for n in range(kills)]
    chance.shuffle(schedule)
    kinds: dict[str, Kind] = {"pull": Pulls(3), "socket": Sockets(2), "webhook": Webhooks(2)}
    with capsys.disabled():
        print(f"\nFAULT_SEED={seed}, {events} events, {len(MANY)} subscriptions, {kills} kills")
    async with world(private_engines, hubs, kinds, tmp_path, seed) as at:
        began = time.monotonic()
        await at.begin(MANY, SUBJECTS)
        try:
            await live(at, events, schedule)
            written = time.monotonic() - began
            await at.rest(REST_SECONDS)
        finally:
            with capsys.disabled():
                print(f"{len(at.acknowledged)} events written, killed: {dict(at.kills)}")
        totals, found = await at.check()
        with capsys.disabled():
            took = time.monotonic() - began
            print(f"written after {written:.0f} s, all answered after {took:.0f} s\n{totals.lines()}")
    assert found[:20] == []
    assert totals.received >= totals.wanted > events
