"""Whatever is killed, each subscription hands out what it has promised: a ledger holds the log against what consumers noted.

A small version of tests/soak/test_deliveries_for_long.py, with each kind of death once. The seed is printed.
"""

import random
from pathlib import Path

import pytest

from tests.faults.deliveries import live, world
from tests.faults.subscribers import Kind, Pulls, Sockets, Webhooks, Wish
from tests.harness.engines import PrivateEngines
from tests.harness.hub_process import HubProcesses

EVENTS, SUBJECTS = 1_500, 40
REST_SECONDS = 200.0
KILLS = ("relay", "node", "work", "postgres", "pull", "socket", "webhook")
WISHES = (
    Wish("all", workers=2),
    Wish("pulled in order", types=("knowledge.*", "twin.*"), ordered=True, replays=True),
    Wish("in order", kind="socket", ordered=True, workers=2, replays=True),
    Wish("refuser", kind="socket", types=("twin.*", "knowledge.updated"), refuses=200),
    Wish("poisoned", types=("agent.*",), ordered=True, attempts=4, poisoned=True, few_subjects=True),
    Wish("hook-agents", kind="webhook", types=("agent.*",)),
    Wish("hook-rest", kind="webhook", types=("twin.updated", "knowledge.*", "subscription.*")),
)


@pytest.mark.slow
@pytest.mark.deadline(400)
async def test_nothing_is_lost_whatever_is_killed(
    seed: int, private_engines: PrivateEngines, hubs: HubProcesses, tmp_path: Path
):
    """Nothing is lost, order is kept, doubles have a reason and the same id."""
    kinds: dict[str, Kind] = {"pull": Pulls(2), "socket": Sockets(2), "webhook": Webhooks()}
    kills = list(KILLS)
    random.Random(seed).shuffle(kills)
    async with world(private_engines, hubs, kinds, tmp_path, seed) as at:
        await at.begin(WISHES, SUBJECTS)
        await live(at, EVENTS, kills)
        await at.rest(REST_SECONDS)
        totals, found = await at.check()
    print(f"{len(at.acknowledged)} events; killed: {', '.join(kills)}; {totals.lines()}")
    assert found[:20] == []
    assert totals.received >= totals.wanted > EVENTS
