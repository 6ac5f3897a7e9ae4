"""Several workers serve on one address as one hub; whatever dies, the others go on."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import psutil
import pytest
from websockets.exceptions import InvalidStatus

from core.store.engines import EngineUrls
from tests.harness.engines import PrivateEngines, processes_of
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import StreamClient, StreamReader, open_stream
from tests.harness.waiting import eventually, wait_until
from tests.hub.workers.conftest import COMMAND, all_up, workers_of

# The kernel chooses the worker of a connection: with so many, none of two is left out but once in a billion runs.
STREAMS = 30
# What a worker may take to start on a busy machine.
START_SECONDS = 60.0


@asynccontextmanager
async def streams_on(hub: HubProcess, key: str) -> AsyncGenerator[list[StreamClient]]:
    """Open many streams at once."""
    async with AsyncExitStack() as stack:
        opening = (stack.enter_async_context(open_stream(hub.stream_url, key)) for _ in range(STREAMS))
        yield list(await asyncio.gather(*opening))


async def nodes_of(hub: HubProcess, key: str) -> dict[str, list[str]]:
    """Return the ids of the open streams by node, as the hub lists them."""
    async with RestClient(hub.base_url, key) as client:

        async def listed() -> dict[str, list[str]] | None:
            body = (await client.call("GET", "/v2/connections?per_page=100")).body
            nodes: dict[str, list[str]] = {}
            for each in body["data"]:
                nodes.setdefault(each["node"], []).append(each["id"])
            return nodes if body["pagination"]["total"] == STREAMS and "incomplete" not in body else None

        return await eventually(listed, what="all streams are listed")


async def test_workers_share_the_load_and_are_one_hub(hub: HubProcess, organisation: Organisation):
    """Streams are on both; what is written at either reaches the streams of both."""
    key = await organisation.key()
    async with streams_on(hub, key) as streams:
        ids = [(await each.expect("welcome"))["connection"] for each in streams]
        nodes = await nodes_of(hub, key)
        assert sorted(id for each in nodes.values() for id in each) == sorted(ids)
        assert len(nodes) == 2
        assert min(len(each) for each in nodes.values()) >= 3, "the kernel balances"
        await asyncio.gather(*(each.subscribe("agents", "chat:lobby") for each in streams))
        for _ in range(6):  # a new connection each: written at one or the other
            async with RestClient(hub.base_url, key) as client:
                made = await client.call("POST", "/v2/agents", {"name": "Ada"})
            for each in streams:
                assert (await each.expect("event"))["event"]["id"] == made.event_id
        await streams[0].send({"type": "publish", "channel": "chat:lobby", "data": {"text": "hello"}})
        for each in streams:
            assert (await each.expect("event", channel="chat:lobby"))["event"]["data"] == {"text": "hello"}


async def test_killed_worker_is_replaced_and_the_others_go_on(hub: HubProcess, organisation: Organisation):
    """Its clients come back and recover what they missed; those of the other notice nothing."""
    key = await organisation.key()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        readers = [await enter(StreamReader([hub.stream_url], key, ["agents"])) for _ in range(STREAMS)]
        for each in readers:
            await each.joined()
        first, second = workers_of(hub)
        first.kill()
        made = []
        for _ in range(20):
            # Some wait in the kernel for the worker that comes in place of the first, and that has to start.
            async with RestClient(hub.base_url, key, timeout=START_SECONDS) as client:
                made.append((await client.call("POST", "/v2/agents", {"name": "Ada"})).event_id)
        for each in readers:
            await each.has(made)
            assert not each.problems
            assert [str(received.event["id"]) for received in each.received] == made
        moved = [each for each in readers if each.connections > 1]
        assert 3 <= len(moved) <= STREAMS - 3, "those of one worker, and no others"
        await all_up(hub, starts=3)
        assert second in workers_of(hub)
        assert first not in workers_of(hub)


async def test_connection_that_waits_for_a_worker_is_served_by_the_next(hub: HubProcess):
    """What the kernel has queued for a worker outlives it: the parent holds the socket."""
    for worker in workers_of(hub):
        worker.suspend()
    async with RestClient(hub.base_url, None) as client:
        asking = [asyncio.create_task(client.call("GET", "/livez")) for _ in range(20)]
        await eventually(lambda: _queued(hub) >= 20, what="the connections wait in the kernel")
        for worker in workers_of(hub):
            worker.kill()
        assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * 20


def _queued(hub: HubProcess) -> int:
    """Return how many connections are established, from the clients' side."""
    port = int(hub.base_url.rpartition(":")[2])
    made = [each for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr[1] == port]
    return len([each for each in made if each.status == psutil.CONN_ESTABLISHED])


async def test_worker_that_is_told_to_stop_is_replaced_at_once(hub: HubProcess, organisation: Organisation):
    """SIGTERM of one is a drain of one: its streams are told to come back, another takes its place meanwhile."""
    key = await organisation.key()
    async with streams_on(hub, key) as streams:
        workers_of(hub)[0].terminate()
        await all_up(hub, starts=3)
        left = [each for each in streams if each.socket.close_code is None]
        for each in left:
            await each.quiet()
        moved = [each for each in streams if each not in left]
        assert 3 <= len(moved) <= STREAMS - 3, "those of one worker, and no others"
        for each in moved:
            assert (await each.expect("disconnect"))["reconnect"]
            assert await each.closed() == 4000


async def test_death_of_the_parent_is_the_end_of_all(urls: EngineUrls, hub: HubProcess):
    """`kill -9` of the one leaves none behind, and the address free."""
    workers = workers_of(hub)
    psutil.Process(hub.pid).kill()
    wait_until(lambda: not any(_lives(each) for each in workers), within=15.0, what="the workers have ended")
    # The kernel may close the listening socket a moment after its last process has ended.
    await eventually(lambda: _nobody_listens(hub.base_url), what="the address is free")


async def _nobody_listens(base_url: str) -> bool:
    async with RestClient(base_url, None) as client:
        try:
            await client.call("GET", "/livez")
        except aiohttp.ClientConnectorError:
            return True
        except (aiohttp.ClientError, OSError):
            return False
    return False


async def test_sigterm_drains_all(hub: HubProcess, organisation: Organisation):
    """Each stream is told when to come back and closed with 4000; the exit code is 0."""
    key = await organisation.key()
    async with streams_on(hub, key) as streams:
        for each in streams:
            await each.expect("welcome")
        stopping = asyncio.create_task(hub.stop())
        for each in streams:
            assert (await each.expect("disconnect"))["reconnect"]
            assert await each.closed() == 4000
        assert await stopping == 0


async def test_second_signal_ends_at_once(urls: EngineUrls, organisation: Organisation, hubs: HubProcesses):
    """A drain that would take long is cut short; so says the exit code."""
    environment = {"HUB_DRAIN": "100", "HUB_RETURNS_PER_SECOND": "1"}
    hub = await hubs.start(urls=urls, command=COMMAND, environment=environment)
    async with streams_on(hub, await organisation.key()) as streams:
        workers = workers_of(hub)
        psutil.Process(hub.pid).send_signal(signal.SIGINT)
        await asyncio.wait(
            [asyncio.ensure_future(each.expect("disconnect")) for each in streams], return_when="FIRST_COMPLETED"
        )
        # At once is less than a second where the machine has time; a drain would take a hundred, or one for each stream.
        assert await hub.stop(within=15.0) == 1
        wait_until(lambda: not any(_lives(each) for each in workers), within=15.0, what="the workers have ended")


async def test_ctrl_c_reaches_parent_and_workers_and_is_one_signal(hub: HubProcess, organisation: Organisation):
    """A terminal sends it to the whole group; the workers leave it to the parent, and drain once."""
    async with open_stream(hub.stream_url, await organisation.key()) as stream:
        await stream.expect("welcome")
        os.killpg(hub.pid, signal.SIGINT)
        assert await stream.closed() == 4000
        await eventually(lambda: not hub.running, what="it has ended")
        assert hub.exit_code == 0


async def test_engines_outlive_a_worker_and_end_with_the_last_holder(
    private_engines: PrivateEngines, hubs: HubProcesses
):
    """Of one worker's end they notice nothing; after the parent's, killed, they stop by themselves."""
    hub = await hubs.start(data=private_engines.data, command=COMMAND)

    def engines() -> set[int]:
        found = processes_of(private_engines.data / "engines")
        return {each.pid for each in found if "hub.workers" not in " ".join(each.cmdline())}

    before = engines()
    assert before
    workers_of(hub)[0].kill()
    await all_up(hub, starts=3)
    async with RestClient(hub.base_url, hub.key) as client:
        assert (await client.call("POST", "/v2/agents", {"name": "Ada"})).status == 201
    assert engines() >= before
    psutil.Process(hub.pid).kill()
    # One may end between being found and being looked at.
    gone = psutil.NoSuchProcess
    await eventually(lambda: not engines(), within=20, every=0.05, retry_on=(gone,), what="the engines have stopped")


async def test_handshake_of_a_stranger_is_refused_by_each(hub: HubProcess):
    """No worker is without the door's checks."""
    for _ in range(8):
        with pytest.raises(InvalidStatus) as refused:
            async with open_stream(hub.stream_url, "aim_live_no"):
                pass
        assert refused.value.response.status_code == 401


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
