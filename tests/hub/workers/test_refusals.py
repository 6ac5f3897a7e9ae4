"""What `serve --workers` cannot do, it says in a line and ends."""

import asyncio
import socket
import sys
from pathlib import Path

import psutil
import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import CHECKOUT, HubProcess, HubProcesses
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually
from tests.hub.workers.conftest import COMMAND, said, workers_of


async def ended(hub: HubProcess, *, within: float = 60.0) -> int:
    """Launch a hub that will not serve, and return its exit code."""
    hub.launch()
    await eventually(lambda: not hub.running, within=within, what="it has ended")
    assert hub.exit_code is not None
    return hub.exit_code


@pytest.mark.parametrize("count", ["0", "-1", "x", "", "1.5", "100000", "²"])
async def test_number_of_workers_is_one(count: str, hubs: HubProcesses):
    """Wrong use: exit code 2, the usage, and what was wrong."""
    hub = hubs.prepare(command=(sys.executable, "-m", "hub", "serve", f"--workers={count}"))
    assert await ended(hub) == 2
    assert "--workers" in hub.output()
    assert "from 1 to 512" in hub.output()
    assert "Traceback" not in hub.output()


async def test_one_worker_is_allowed(urls: EngineUrls, hubs: HubProcesses):
    """A parent with one: rolling restarts for a small machine."""
    hub = await hubs.start(urls=urls, command=(*COMMAND[:-1], "1"))
    assert len(workers_of(hub)) == 1
    assert await hub.stop() == 0


@pytest.mark.parametrize("other", ["a stranger", "a hub of workers", "a hub of one process"])
async def test_address_that_is_taken(other: str, urls: EngineUrls, hubs: HubProcesses):
    """Also by another hub of workers, beside which the kernel would let this one listen."""
    with socket.socket() as stranger:
        if other == "a stranger":
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            port = str(stranger.getsockname()[1])
        else:
            first = await hubs.start(urls=urls, command=COMMAND if "workers" in other else COMMAND[:6])
            port = first.base_url.rpartition(":")[2]
        second = hubs.prepare(urls=urls, command=(*COMMAND[:5], port, *COMMAND[6:]))
        assert await ended(second) == 1
    assert "address already in use" in second.output()
    assert "python -m hub doctor" in second.output()
    assert "Traceback" not in second.output()


async def test_single_process_does_not_slip_in_beside_workers(urls: EngineUrls, hubs: HubProcesses):
    """The other way round."""
    first = await hubs.start(urls=urls, command=COMMAND)
    second = hubs.prepare(urls=urls, command=(*COMMAND[:5], first.base_url.rpartition(":")[2]))
    assert await ended(second) == 1
    assert "address already in use" in second.output()


async def test_no_worker_can_start(urls: EngineUrls, hubs: HubProcesses):
    """The reason of a worker is the parent's; nothing is tried for ever."""
    away = EngineUrls("postgresql://nobody@127.0.0.1:1/x", urls.superuser_url, urls.redis_url)
    hub = hubs.prepare(urls=away, command=COMMAND)
    assert await ended(hub) == 1
    assert "python -m hub doctor" in hub.output()
    assert "Traceback" not in hub.output()


async def test_parent_hears_no_signal_once_it_is_through():
    """Its workers end while its loop closes: a signal that still had somewhere to be written to would be a traceback."""
    program = """
import asyncio, signal
from core.clock import SystemClock
from hub.workers.parent import Parent
from hub.workers.plan import Plan

async def run():
    # A worker without a socket is none.
    plan = Plan(sockets=[[]], engines=False, data="", engine_user="", log="text", drain=1.0)
    return await Parent(plan, SystemClock()).run(), signal.set_wakeup_fd(-1), signal.getsignal(signal.SIGCHLD)

print(asyncio.run(run()) == (1, -1, signal.SIG_DFL))
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        cwd=Path(CHECKOUT),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert out.splitlines()[-1:] == [b"True"], errors.decode()


async def test_wrong_setting_is_said_before_anything_starts(urls: EngineUrls, hubs: HubProcesses):
    """As without workers."""
    hub = hubs.prepare(urls=urls, command=COMMAND, environment={"HUB_DRAIN": "long"})
    assert await ended(hub) == 1
    assert "HUB_DRAIN" in hub.output()
    assert "worker_started" not in hub.output()


async def test_signal_during_the_start_ends_it(urls: EngineUrls, hubs: HubProcesses):
    """Exit code 0, and nobody is left."""
    hub = hubs.prepare(urls=urls, command=COMMAND)
    hub.launch()
    await eventually(said(hub, "worker_started"), what="a worker is on its way")
    workers = psutil.Process(hub.pid).children()
    assert await hub.stop() == 0
    assert not any(each.is_running() for each in workers)


@pytest.mark.deadline(240)
async def test_workers_that_die_again_and_again_are_given_up(urls: EngineUrls, hubs: HubProcesses):
    """Killed as soon as they serve: later and later another try, then the end."""
    hub = await hubs.start(urls=urls, command=(*COMMAND[:-1], "1"))

    async def killed_again() -> bool:
        if hub.running:
            for each in workers_of(hub):
                try:
                    async with RestClient(hub.base_url, None) as client:
                        await client.call("GET", "/livez")
                finally:
                    each.kill()
        return not hub.running

    # Six starts, and twelve seconds between them.
    await eventually(killed_again, within=180, every=0.05, retry_on=(OSError, psutil.Error), what="it gives up")
    assert hub.exit_code == 1
    assert hub.output().count("worker_lost") == 6


async def test_parent_is_small(hub: HubProcess):
    """It lives beside the workers; a third of one is too much."""
    parent = psutil.Process(hub.pid).memory_info().rss
    assert parent < 45 * 1024 * 1024
    assert parent < min(each.memory_info().rss for each in workers_of(hub)) / 2


async def test_help_names_it():
    """`--help` is where one looks first."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND[:4], "--help", cwd=Path(CHECKOUT), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert b"--workers" in out
    assert b"SIGHUP" in out
