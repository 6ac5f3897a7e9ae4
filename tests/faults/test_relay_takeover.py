"""The node that moves events into the log dies, or is stopped and woken later: another takes over, no position twice."""

import time
from contextlib import AsyncExitStack

import pytest

from core.events.relay import POLL_SECONDS, STUCK_LOOKS
from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn
from tests.harness.hub_process import HubProcesses
from tests.harness.ledger import Ledger
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient, Writer
from tests.harness.stream_client import StreamReader

TAKEOVER_SECONDS = 5.0
# What a busy machine may take longer than the rules do.
BUSY_SECONDS = 20.0


async def event_comes(client: RestClient, reader: StreamReader, ledger: Ledger) -> float:
    """Write through a node that lives and return after how many seconds the reader had the event."""
    began = time.monotonic()
    made = await client.call("POST", "/v2/agents", {"name": "after the fault"})
    assert made.status == 201, made
    ledger.wrote(made.event_id)
    await reader.has([made.event_id], within=TAKEOVER_SECONDS + BUSY_SECONDS)
    return time.monotonic() - began


async def keep_books(writer: Writer, readers: list[StreamReader]) -> None:
    """Check the log and the readers when all has come to rest."""
    await writer.stop()
    await writer.ledger.settle()
    for reader in readers:
        await reader.has_all(writer.ledger.log)
        writer.ledger.check_reader(reader)


@pytest.mark.parametrize("fault", ["killed", "stopped and woken"])
async def test_another_node_takes_over_from_a_relay(
    fault: str,
    engines: EngineUrls,
    organisation: Organisation,
    redis_url: str,
    write_on: WriteOn,
    hubs: HubProcesses,
):
    """Within 5 s of the fault an event is delivered again; the woken holder gives no position a second time."""
    assert (STUCK_LOOKS + 1) * POLL_SECONDS < TAKEOVER_SECONDS
    urls = EngineUrls(organisation.database_url, engines.superuser_url, redis_url)
    holder = await hubs.start(urls=urls)  # the first node takes every shard
    second = await hubs.start(urls=urls)
    key = await organisation.key()
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(StreamReader([second.stream_url], key, ["agents", "twins"]))
        await reader.joined()
        client = await stack.enter_async_context(RestClient(second.base_url, key))
        writer = await stack.enter_async_context(write_on(organisation, key, [second]))
        await writer.more(30)
        if fault == "killed":
            holder.kill()
        else:
            holder.pause()
        took = await event_comes(client, reader, writer.ledger)
        await writer.more(30)
        holder.resume()
        await writer.more(30)
        late: list[StreamReader] = []
        if fault != "killed":
            late.append(await stack.enter_async_context(StreamReader([holder.stream_url], key, ["agents", "twins"])))
            await late[0].joined()
            await event_comes(client, late[0], writer.ledger)
        await keep_books(writer, [reader, *late])
    writer.ledger.check_log()
    print(f"taken over within {took:.1f} s")
