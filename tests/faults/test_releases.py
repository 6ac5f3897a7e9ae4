"""Two releases at once: the last one and this one on one data folder, as during every deploy."""

import random
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from uuid import UUID

import pytest

from tests.harness.engines import PrivateEngines
from tests.harness.hub_process import HubProcesses
from tests.harness.ledger import Ledger
from tests.harness.release import NoRelease, checked_out, last_release
from tests.harness.rest_client import RestClient, Writer
from tests.harness.stream_client import StreamReader, open_stream


@pytest.fixture
def release(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The checkout of the last release; without one the test is skipped, and the run says so beside the dots."""
    try:
        with checked_out(last_release()) as tree:
            yield tree
    except NoRelease as none:
        reason = f"two releases at once were NOT tested: {none}"
        capture = request.config.pluginmanager.get_plugin("capturemanager")
        with nullcontext() if capture is None else capture.global_and_fixture_disabled():
            print(f"\n{reason}", flush=True)
        pytest.skip(reason)


async def test_old_and_new_release_are_one_hub_while_sockets_move(
    release: Path, private_engines: PrivateEngines, seed: int, hubs: HubProcesses
):
    """The new one comes, migrates, and both serve; the old one stops: readers of either have every event once."""
    old = await hubs.start(data=private_engines.data, checkout=release)
    urls = await private_engines.start()
    async with open_stream(old.stream_url, old.key) as stream:
        org_id = UUID((await stream.expect("welcome"))["org_id"])
    ledger = Ledger(urls.database_url, org_id, seed)
    nodes = [old]
    channels = ["agents", "knowledge", "twins"]

    def running() -> list[str]:
        return [node.base_url for node in nodes if node.running]

    async with (
        StreamReader([old.stream_url], old.key, channels) as stays,
        RestClient("", old.key) as client,
        Writer(client, running, ledger, random.Random(seed)) as writer,
    ):
        await stays.joined()
        await writer.more()
        new = await hubs.start(data=private_engines.data)
        nodes.append(new)
        stays.urls.append(new.stream_url)
        async with StreamReader([new.stream_url, old.stream_url], new.key, channels) as comes:
            await comes.joined()
            await writer.more(80)
            nodes.remove(old)
            assert await old.stop() == 0
            await stays.joined()
            await writer.more()
            await writer.stop()
            await ledger.settle()
            for reader in (stays, comes):
                await reader.has_all(ledger.log)
                ledger.check_reader(reader)
        ledger.check_log()
        await ledger.check_state(RestClientOf(client, new.base_url))


class RestClientOf:
    """A client that speaks to one node."""

    def __init__(self, client: RestClient, base_url: str) -> None:
        self._client = client
        self._base_url = base_url

    async def call(self, method: str, path: str):
        """Send a request."""
        return await self._client.call(method, path, base_url=self._base_url)
