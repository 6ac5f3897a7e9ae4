"""PostgreSQL comes back as a backup had it: the log is another one from there on, and every client is told."""

import shutil
import subprocess
from pathlib import Path

from core.events.epoch import new_epoch
from core.store.engines import EngineUrls
from tests.harness.checker import Checker, LiveBooks
from tests.harness.engines import PrivateEngines, execute_as_superuser, processes_of, with_database
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.ledger import Ledger, Logged
from tests.harness.organisations import Organisations
from tests.harness.proxy import Address, FaultProxies
from tests.harness.rest_client import RestClient
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually
from tests.harness.watcher import Watcher

CHANNELS = ["agents", "twins"]


async def stop_with_engines(hub: HubProcess, data: Path) -> None:
    """Stop the hub, and wait until its engines have followed it."""
    await hub.stop()
    await eventually(lambda: not processes_of(data), within=60, every=0.05, what="the engines have stopped")


def copy(source: Path, target: Path) -> None:
    """Copy a folder with its owners, in place of what is there."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)  # noqa: S607 - cp of the PATH


async def create(hub: HubProcess, count: int, key: str = "") -> None:
    """Write agents and twins."""
    async with RestClient(hub.base_url, key or hub.key) as client:
        for number in range(count):
            for kind in CHANNELS:
                made = await client.call("POST", f"/v2/{kind}", {"name": f"Nr. {number}", "type": "assistant"})
                assert made.status == 201, made


async def log_of(ledger: Ledger) -> list[Logged]:
    """Return the whole log as it is now."""
    await ledger.settle()
    return list(ledger.log)


def the_epoch(watcher: Watcher) -> str:
    """Return the epoch of the log that a client is in."""
    return watcher.bookmark("agents").epoch or ""


async def test_restored_backup_is_a_new_epoch_for_every_client(
    private_engines: PrivateEngines, seed: int, proxies: FaultProxies, hubs: HubProcesses
):
    """Who saw what the backup does not have gets a reset with reason `epoch`, then everything of the new life, once, in order."""
    data, backup = private_engines.data, private_engines.data / "backup"
    hub = await hubs.start(data=data)
    urls = await private_engines.start()
    organisation = await Organisations(urls.database_url).create("default")
    ledger = Ledger(urls.database_url, organisation.id, seed)
    private_engines.close()
    gate = await proxies.open(hub.base_url)
    watcher = Watcher([gate.url("ws") + "/v2/stream"], hub.key, CHANNELS)
    async with watcher:
        await watcher.joined()
        await create(hub, 5)
        await stop_with_engines(hub, data)
        copy(data / "engines" / "postgres", backup)
        gate.server = Address.of((await hub.start()).base_url)
        await create(hub, 5)
        before = await log_of(ledger)
        await watcher.has_all(before)
        first = the_epoch(watcher)
        await stop_with_engines(hub, data)
        copy(backup, data / "engines" / "postgres")
        gate.server = Address.of((await hub.start()).base_url)
        await eventually(lambda: watcher.live and the_epoch(watcher) != first, within=60, what="another epoch")
        await create(hub, 10)
        after = await log_of(ledger)
        last = max(each.position for each in after if each.belongs_to("agents"))
        await eventually(lambda: watcher.is_at("agents", the_epoch(watcher), last), within=60, what="the end")
        await eventually(lambda: watcher.is_at("twins", the_epoch(watcher), len(after)), within=60, what="the end")
    checker = Checker({first: before, the_epoch(watcher): after}, LiveBooks(), log_may_reset=True)
    checker.check([watcher])
    assert not checker.problems
    assert {reset["reason"] for reset in watcher.resets} == {"epoch"}
    assert {reset["channel"] for reset in watcher.resets} == set(CHANNELS)


async def test_backup_restored_beneath_running_nodes_is_a_new_epoch_when_it_is_announced(
    private_engines: PrivateEngines, own_redis: OwnRedis, seed: int, hubs: HubProcesses
):
    """`migrate --new-epoch`, as the manual asks after every restore: sockets stay, and are told."""
    urls = await private_engines.start()
    urls = EngineUrls(urls.database_url, with_database(urls.superuser_url, "aimatrix"), own_redis.url)
    hub = await hubs.start(urls=urls)
    organisation = await Organisations(urls.database_url).create()
    key = await organisation.key()
    ledger = Ledger(urls.database_url, organisation.id, seed)
    async with Watcher([hub.stream_url], key, CHANNELS) as watcher:
        await watcher.joined()
        await create(hub, 5, key)
        kept = len(await log_of(ledger))
        await create(hub, 5, key)
        before = await log_of(ledger)
        await watcher.has_all(before)
        first = the_epoch(watcher)
        # One transaction: to the nodes that is what a restored log looks like.
        await execute_as_superuser(
            urls,
            f"DELETE FROM hub.events WHERE position > {kept}; UPDATE hub.heads SET position = {kept}, published = {kept}",  # noqa: S608 - a number
        )
        await new_epoch(urls.database_url)
        await create(hub, 10, key)
        after = await log_of(ledger)
        await eventually(lambda: watcher.live and the_epoch(watcher) != first, within=60, what="another epoch")
        for channel in CHANNELS:
            last = max(each.position for each in after if each.belongs_to(channel))
            await eventually(
                lambda c=channel, n=last: watcher.is_at(c, the_epoch(watcher), n), within=60, what="the end"
            )
    checker = Checker({first: before, the_epoch(watcher): after}, LiveBooks(), log_may_reset=True)
    checker.check([watcher])
    assert not checker.problems
    assert watcher.connections == 1
