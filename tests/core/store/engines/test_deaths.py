"""What is killed comes back, with everything that was committed."""

import contextlib
import os
import signal
import subprocess

from core.store.engines import start_engines
from core.store.engines.programs import find_programs
from tests.core.store.engines.trial import Trial
from tests.harness.waiting import eventually


async def test_killed_supervisor_takes_the_engines_with_it(trial: Trial):
    """Nothing runs that nobody owns: the kernel tells both engines when their supervisor dies."""
    app = await trial.app()
    app.process.send_signal(signal.SIGSTOP)  # It would start the next supervisor at once.
    os.kill(trial.supervisor, signal.SIGKILL)
    await trial.stopped(within=20)
    app.process.send_signal(signal.SIGCONT)


async def test_hub_brings_a_killed_supervisor_back(trial: Trial):
    """A hub that lives has its engines back, at the same addresses, without being restarted."""
    engines = await start_engines(trial.data)
    await trial.store("kept")
    killed = trial.supervisor
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: trial.supervisor != killed and len(trial.supervisors) == 1, what="another supervisor")
    assert await trial.stored() == (["kept"], "kept")
    engines.close()


async def test_killed_postgres_comes_back_with_its_data(trial: Trial):
    """The parent process alone is killed: its children go by themselves, and the next one recovers."""
    await trial.app()
    await trial.store("kept")
    killed = trial.postmaster
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: trial.postmaster not in (0, killed), within=30, what="another PostgreSQL")
    assert await trial.stored() == (["kept"], "kept")


async def test_killed_valkey_comes_back_with_its_data(trial: Trial):
    """What was on disk is loaded again."""
    await trial.app()
    await trial.store("kept")
    killed = trial.valkey
    os.kill(killed[0], signal.SIGKILL)
    await eventually(lambda: trial.valkey and trial.valkey != killed, within=30, what="another Valkey")
    assert await trial.stored() == (["kept"], "kept")


async def test_start_after_everything_was_killed(trial: Trial):
    """App, supervisor, both engines and all their children at once, as when the machine loses power: the next start just works."""
    app = await trial.app()
    await trial.store("kept")
    app.process.send_signal(signal.SIGSTOP)
    for pid in trial.running:
        with contextlib.suppress(ProcessLookupError):  # those of one query are short-lived, and die with the first
            os.kill(pid, signal.SIGKILL)
    await app.end(signal.SIGKILL)
    await trial.app()
    assert await trial.stored() == (["kept"], "kept")


async def test_stale_pid_files_that_name_a_living_process(trial: Trial):
    """Numbers of processes are used again, above all in containers: what works elsewhere does not hold the data folder."""
    await trial.app()
    await trial.stop()
    layout = trial.layout
    stranger = as_engines_account(trial, "sleep", "60")
    try:
        stale = f"{stranger.pid}\n{layout.postgres}\n1700000000\n5432\n{layout.run}\n\n"
        for path in (layout.postgres / "postmaster.pid", layout.run / ".s.PGSQL.5432.lock"):
            path.write_text(stale)
        await trial.app()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_leftover_server_is_stopped_first(trial: Trial):
    """A server that an earlier supervisor has left in the data folder makes room, cleanly, before the next one starts."""
    await trial.app()
    await trial.store("kept")
    await trial.stop()
    layout = trial.layout
    settings = ("-c", "listen_addresses=", "-c", f"unix_socket_directories={layout.run}")
    left = as_engines_account(trial, str(find_programs().postgres), "-D", str(layout.postgres), *settings)
    # One that is told to stop while it starts ends with 1.
    status = layout.postgres / "postmaster.pid"

    def serves() -> bool:
        lines = status.read_text().split() if status.exists() else []
        return lines[:1] == [str(left.pid)] and lines[-1] == "ready"

    await eventually(serves, what="the server that is left")
    await trial.app()
    # 1: its last checkpoint, with nothing to write, was done before its postmaster waited for it ("WAL was shut down unexpectedly",
    # PostgreSQL 18). Nothing needs recovery either way.
    assert left.wait() in (0, 1)
    assert await trial.stored() == (["kept"], "kept")


def as_engines_account(trial: Trial, *command: str) -> subprocess.Popen[bytes]:
    account = trial.layout.account
    return subprocess.Popen(
        command,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
