"""PostgreSQL dies under load: refusals that say when to come back, nothing half done, then all is well."""

from contextlib import AsyncExitStack

from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn
from tests.harness.engines import PrivateEngines
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisations
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import StreamReader
from tests.harness.waiting import eventually


async def test_killed_postgres_means_503_with_retry_after_and_nothing_half_done(
    private_engines: PrivateEngines, write_on: WriteOn, hubs: HubProcesses
):
    """Every answer is a success or a 503 that names a wait; the log, the state and the readers agree afterwards."""
    urls: EngineUrls = await private_engines.start()
    nodes = await hubs.start_many(2, urls=urls)
    organisation = await Organisations(urls.database_url).create()
    key = await organisation.key()
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(
            StreamReader([node.stream_url for node in nodes], key, ["agents", "knowledge", "twins"])
        )
        await reader.joined()
        client = await stack.enter_async_context(RestClient(nodes[0].base_url, key))
        writer = await stack.enter_async_context(write_on(organisation, key, nodes))
        for _ in range(3):
            await writer.more(40)
            refusals = len(writer.refused)
            (await private_engines.postgres()).kill()
            await eventually(lambda seen=refusals: len(writer.refused) > seen, what="a refusal")
            await private_engines.answering()
        await writer.more(40)
        await writer.stop()
        await writer.ledger.settle()
        await reader.has_all(writer.ledger.log)
        await writer.ledger.check_state(client)
    writer.ledger.check_log()
    writer.ledger.check_reader(reader)
    assert reader.connections == 1, f"the socket did not stay: {reader.closes}"
    for refusal in writer.refused:
        assert (refusal.status, refusal.code) == (503, "SERVICE_UNAVAILABLE"), refusal
        assert int(refusal.headers["Retry-After"]) >= 1
