"""What a hub may be started with: closed descriptors, a log that nobody reads, a reload that comes at once."""

import asyncio
import os
import signal
import socket

import aiohttp
import psutil
import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.waiting import eventually
from tests.hub.workers.conftest import COMMAND, all_up

ONE = COMMAND[:6]
BOTH = pytest.mark.parametrize("command", [ONE, COMMAND])
FRESH = 12


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def from_shell(redirection: str, command: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command whose descriptors the shell has arranged."""
    return ("/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *command)


async def answers(url: str) -> bool:
    """Tell whether every fresh connection is answered, wherever the kernel puts it."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        for _ in range(FRESH):
            async with session.get(f"{url}/readyz", timeout=aiohttp.ClientTimeout(total=2)) as answer:
                assert answer.status == 200
    return True


@BOTH
@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
async def test_closed_descriptors_are_not_taken_for_sockets(
    command: tuple[str, ...], closed: str, urls: EngineUrls, hubs: HubProcesses
):
    """Cron, and some supervisors, close what they think nobody needs."""
    port = free_port()
    command = tuple(str(port) if word == "0" else word for word in command)
    hub = hubs.prepare(urls=urls, command=from_shell(closed, command))
    hub.launch()
    await _answers_all(hub, port)
    assert await hub.stop() == 0


@BOTH
async def test_log_that_nobody_reads_ends_nothing(command: tuple[str, ...], urls: EngineUrls, hubs: HubProcesses):
    """The reader of its log is killed: a reload and a drain go as always."""
    port = free_port()
    command = tuple(str(port) if word == "0" else word for word in command)
    pipe, end = os.pipe()
    hub = hubs.prepare(urls=urls, command=from_shell(f">/proc/{os.getpid()}/fd/{end} 2>&1", command))
    hub.launch()
    await eventually(lambda: b"took" in os.read(pipe, 65536), what="it has the pipe")
    os.close(end)
    os.close(pipe)
    await _answers_all(hub, port)
    psutil.Process(hub.pid).send_signal(signal.SIGHUP)
    if command[-1] == "2":
        hub.base_url = f"http://127.0.0.1:{port}"
        await all_up(hub, starts=4)
    await _answers_all(hub, port)
    assert await hub.stop(within=30) == 0


@BOTH
async def test_reload_that_comes_at_once_is_not_the_end(command: tuple[str, ...], urls: EngineUrls, hubs: HubProcesses):
    """It waits until there is somebody to take it, from the first moment that the hub's own code runs."""
    # Through a shell it is no copy of a process that has read the code already.
    hub = hubs.prepare(urls=urls, command=from_shell("", command))
    hub.launch()
    process = psutil.Process(hub.pid)
    # uvloop is read on the way to the commands; the handlers are set long after that.
    await eventually(lambda: any("uvloop" in each.path for each in process.memory_maps()), every=0.005, what="it reads")
    process.send_signal(signal.SIGHUP)
    await hub.ready()
    assert await asyncio.to_thread(_answered, hub.base_url)
    assert await hub.stop() == 0


def _answered(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        return client.recv(4096).startswith(b"HTTP/1.")


async def _answers_all(hub: HubProcess, port: int) -> None:
    async def all_answer() -> bool:
        if not hub.running:
            raise RuntimeError(f"it has ended with {hub.exit_code}:\n{hub.output()}")
        return await answers(f"http://127.0.0.1:{port}")

    waited = (aiohttp.ClientError, OSError, TimeoutError, AssertionError)
    await eventually(all_answer, within=30, retry_on=waited, what="it serves")
