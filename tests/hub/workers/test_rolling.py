"""SIGHUP: one worker after another is replaced under load, and nobody meets a closed door or misses an event."""

import os
import pty
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from core.store.engines import EngineUrls
from tests.harness.checker import Checker, LiveBooks, report
from tests.harness.engines import short_folder
from tests.harness.hub_process import CHECKOUT, HubProcess, HubProcesses
from tests.harness.ledger import Ledger
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient, Writer
from tests.harness.stream_client import open_stream
from tests.harness.waiting import eventually
from tests.harness.watcher import Watcher
from tests.hub.workers.conftest import COMMAND, all_up, knocking, metrics_of, said, workers_of

WATCHERS = 8
CODE = ("hub", "rest", "handlers", "rooms", "core", "web")


@pytest.fixture
def release() -> Iterator[Path]:
    """A copy of the code, which a test may replace by another."""
    folder = short_folder("hub-release")
    for name in CODE:
        shutil.copytree(CHECKOUT / name, folder / name)
    yield folder
    shutil.rmtree(folder)


def hang_up(hub: HubProcess) -> None:
    """Send SIGHUP to the process that was started, and no other."""
    psutil.Process(hub.pid).send_signal(signal.SIGHUP)


async def test_rolling_restart_under_load_loses_and_refuses_nothing(hub: HubProcess, organisation: Organisation):
    """Watchers and a writer go on; fresh connections, also ones that wait before they ask, are all answered.

    A second SIGHUP that comes meanwhile is done afterwards; two of them are one.
    """
    key = await organisation.key()
    ledger = Ledger(organisation.database_url, organisation.id, "none")
    before = workers_of(hub)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        watchers = [
            await enter(Watcher([hub.stream_url], key, ["agents", "knowledge", "twins"])) for _ in range(WATCHERS)
        ]
        for each in watchers:
            await each.joined()
        client = await enter(RestClient("", key))
        writer = await enter(Writer(client, lambda: [hub.base_url], ledger, random.Random(1)))
        async with knocking(hub, 0.0, 0.0, 0.05, 0.3, 1.0) as knocks:
            await writer.more(20)
            hang_up(hub)
            await eventually(said(hub, "rolling_restart_began"), what="it begins")
            hang_up(hub)
            hang_up(hub)
            await all_up(hub, starts=6)
            await eventually(lambda: len(workers_of(hub)) == 2, within=60, what="the old ones have ended")
            await writer.more(20)
            await eventually(lambda: hub.output().count("rolling_restart_done") == 2, what="both are done")
        await writer.stop()
        await ledger.settle()
        last = ledger.log[-1].position
        for each in watchers:
            await eventually(lambda each=each: each.live, what="all are back")
            await each.has_all(ledger.log)
        assert knocks.wrong == []
        assert knocks.answered > 50
        assert (writer.lost, writer.refused) == (0, [])
        ledger.check_log()
        checker = Checker({watchers[0].start["agents"].epoch or "": ledger.log}, LiveBooks())
        checker.check(watchers)
        report(checker.problems, "none", [f"{last} events", f"{[each.closes for each in watchers]}"])
        assert {code for each in watchers for code in each.closes} == {4000}
        assert not set(before) & set(workers_of(hub))
    assert hub.output().count("rolling_restart_done") == 2


async def test_replacement_is_of_the_code_that_is_there_now(
    release: Path, urls: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """That is what a deploy is: the folder has the new release, then SIGHUP."""
    hub = await hubs.start(urls=urls, command=COMMAND, checkout=release)
    replace_in(release / "hub" / "insight" / "metrics.py", 'return "checkout"', 'return "the next one"')
    hang_up(hub)
    await all_up(hub, starts=4)
    assert any("the next one" in name for name in await metrics_of(hub) if name.startswith("hub_node_info"))


async def test_replacement_that_cannot_start_changes_nothing(
    release: Path, urls: EngineUrls, organisation: Organisation, hubs: HubProcesses
):
    """The old workers stay, the log says why, and the next SIGHUP, with better code, goes through."""
    hub = await hubs.start(urls=urls, command=COMMAND, checkout=release)
    before = workers_of(hub)
    key = await organisation.key()
    main, good = release / "hub" / "main.py", (release / "hub" / "main.py").read_text()
    async with open_stream(hub.stream_url, key) as stream, knocking(hub, 0.0) as knocks:
        await stream.expect("welcome")
        for bad, reason in (("import no_such_module\n", "before it was ready"), ("", "the disk is full")):
            main.write_text(
                bad
                or good.replace(
                    "async def _start(self)",
                    f"async def _start(self):\n        raise OSError({reason!r})\n\n    async def _begin(self)",
                )
            )
            stops = hub.output().count("rolling_restart_stopped")
            hang_up(hub)
            await eventually(
                lambda stops=stops: hub.output().count("rolling_restart_stopped") > stops,
                within=60,
                what="the roll stops",
            )
            line = next(each for each in hub.output().splitlines()[::-1] if "rolling_restart_stopped" in each)
            assert reason in line
            assert workers_of(hub) == before
        main.write_text(good)
        await stream.quiet()
        hang_up(hub)
        await all_up(hub, starts=6)
        assert await stream.closed() == 4000
    assert knocks.wrong == []


async def test_sighup_of_one_process_is_said_and_does_nothing(urls: EngineUrls, hubs: HubProcesses):
    """It cannot replace itself; it must not die of it either."""
    hub = await hubs.start(urls=urls)
    hang_up(hub)
    await eventually(said(hub, "hangup_ignored"), what="it says so")
    async with RestClient(hub.base_url, None) as client:
        assert (await client.call("GET", "/readyz")).status == 200


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
async def test_hub_goes_with_its_terminal(workers: tuple[str, ...], urls: EngineUrls, hubs: HubProcesses):
    """A closed window leaves no hub behind that holds the port; told again, as by kernel and shell, it drains all the same."""
    controller, terminal = pty.openpty()
    name = os.ttyname(terminal)
    shell = ("/bin/sh", "-c", f'exec "$@" <{name}', "sh", *COMMAND[:6], *workers)
    hub = await hubs.start(urls=urls, command=shell)
    os.close(terminal)
    os.close(controller)

    def has_ended() -> bool:
        hang_up(hub)  # at any moment of its end
        return not hub.running

    await eventually(has_ended, within=20, what="it has ended")
    assert hub.exit_code == 0


async def test_reload_during_the_start_comes_after_it(urls: EngineUrls, hubs: HubProcesses):
    """SIGHUP before anything serves is kept, not lost, and not deadly."""
    hub = hubs.prepare(urls=urls, command=COMMAND)
    hub.launch()
    await eventually(said(hub, "worker_started"), what="the first is on its way")
    hang_up(hub)
    await hub.ready()
    await all_up(hub, starts=4)


def replace_in(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
