"""Who keeps the engines alive, and when they stop."""

import asyncio
import os
import signal

import pytest

from core.store.engines import start_engines
from core.store.engines.presence import Readers, announce
from core.store.engines.processes import tail
from tests.core.store.engines.trial import Trial
from tests.harness.waiting import eventually, let_pass


async def test_four_cold_starters_share_one_supervisor(trial: Trial):
    """Whoever comes first starts everything; the others attach, and every one of them reaches both engines."""
    apps = [await trial.launch() for _ in range(4)]
    assert await asyncio.gather(*(app.said() for app in apps)) == ["ready hub"] * 4
    await eventually(lambda: trial.supervisors == [trial.supervisor], what="spare supervisors have left")
    assert len(trial.valkey) == 1


async def test_engines_stay_when_one_of_two_apps_is_killed(trial: Trial):
    """They belong to all processes of the data folder, not to the one that happened to start them."""
    first, _second = await trial.app(), await trial.app()
    before = trial.postmaster, trial.valkey, trial.supervisor
    await first.end(signal.SIGKILL)
    await let_pass(2.5)  # Longer than the grace after the last one.
    assert (trial.postmaster, trial.valkey, trial.supervisor) == before


@pytest.mark.parametrize("wish", [signal.SIGTERM, signal.SIGKILL])
async def test_last_app_takes_the_engines_with_it(trial: Trial, wish: signal.Signals):
    """However it goes, both engines stop cleanly some two seconds later, and with what a busy disk takes."""
    app = await trial.app()
    await app.end(wish)
    await trial.stopped(within=30)
    assert "database system is shut down" in tail(trial.layout.log("postgres"))
    assert "bye bye" in tail(trial.layout.log("valkey"))


async def test_restarted_app_finds_the_engines_warm(trial: Trial):
    """Within the grace the same engines serve on."""
    app = await trial.app()
    before = trial.postmaster, trial.valkey, trial.supervisor
    await app.end(signal.SIGTERM)
    # Here, since a process that must load everything first may be later than the grace where the machine is busy.
    again = await start_engines(trial.data)
    await trial.store("served")
    assert (trial.postmaster, trial.valkey, trial.supervisor) == before
    again.close()


async def test_child_of_an_app_does_not_keep_the_engines(trial: Trial):
    """The FIFO's write end is close-on-exec: a child that outlives the app holds nothing."""
    app = await trial.app("leak")
    await app.end(signal.SIGKILL)
    await trial.stopped(within=30)


async def test_two_holds_of_one_process_are_counted_apart(trial: Trial):
    """Two hubs in one process do not take the engines from each other; closing twice is closing."""
    first = await start_engines(trial.data)
    second = await start_engines(trial.data)
    assert first.urls == second.urls
    first.close()
    first.close()
    await let_pass(2.5)
    await trial.store("still here")
    second.close()


async def test_cancelled_start_lets_go(trial: Trial):
    """A hub that is stopped while it starts leaves no hold behind."""
    starting = asyncio.ensure_future(start_engines(trial.data))
    await eventually(lambda: trial.supervisors, what="a supervisor has started")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await trial.stopped(within=40)


async def test_supervisor_told_to_stop_stops_cleanly(trial: Trial):
    """When the system shuts down it gets SIGTERM as everyone does, and PostgreSQL needs no recovery afterwards."""
    app = await trial.app()
    app.process.send_signal(signal.SIGSTOP)  # It would start the next supervisor at once.
    os.kill(trial.supervisor, signal.SIGTERM)
    await trial.stopped()
    assert "database system is shut down" in tail(trial.layout.log("postgres"))
    app.process.send_signal(signal.SIGCONT)


def test_supervisor_does_not_retire_when_somebody_has_come(trial: Trial):
    """A process that attaches in the last moment keeps the engines; one that comes later knows that it is too late."""
    trial.layout.folder.mkdir(parents=True)
    readers = Readers(trial.layout)
    assert not readers.anybody
    hold = announce(trial.layout)
    assert hold is not None
    assert not readers.retire()
    os.close(hold)
    assert readers.retire()
    assert announce(trial.layout) is None
