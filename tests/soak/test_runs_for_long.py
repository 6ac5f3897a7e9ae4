"""SOAK_RUNS (500) runs of agents whose workers are killed, stopped for longer than a lease, and drained, at random points.

`make soak ARGS="-k runs"`; FAULT_SEED gives the seed.
"""

import os
import random
from collections import Counter

import pytest

from core.store.migrate import migrate
from tests.faults.executing import cast
from tests.faults.test_executions import runs_are_hurt
from tests.harness.engines import PrivateEngines
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisations

AT_ONCE = 20
WORKERS = 3


@pytest.mark.deadline(0)
async def test_each_run_ends_once(
    private_engines: PrivateEngines, hubs: HubProcesses, capsys: pytest.CaptureFixture[str]
):
    """In one state, and whoever reads it reads one answer."""
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(2**32))
    runs = int(os.environ.get("SOAK_RUNS") or 500)
    with capsys.disabled():
        print(f"\nFAULT_SEED={seed}, {runs} runs")
    urls = await private_engines.start()
    await migrate(urls.database_url)
    organisation = await Organisations(urls.database_url).create()
    async with cast(hubs, urls, organisation, workers=WORKERS) as at:
        happened = await runs_are_hurt(at, random.Random(seed), runs, AT_ONCE)
        counts = await organisation.rows("SELECT max(attempt), count(*) FILTER (WHERE attempt > 1) FROM executions")
    with capsys.disabled():
        print(f"{dict(Counter(happened))}; most attempts and runs of several: {[tuple(row) for row in counts]}")
