"""The JavaScript SDK in a real browser: beside a client that only follows the protocol's page, in many tabs, after sleep."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn, seed, write_on
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.ledger import Ledger
from tests.harness.organisations import Organisation, Organisations
from tests.harness.proxy import Address, FaultProxies, FaultProxy
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

__all__ = ["seed", "write_on"]
pytestmark = pytest.mark.browser

BARE = Path(__file__).with_name("bare_client.js")
CHANNELS = ["agents", "knowledge", "twins"]
TABS = 20
# `window.told` is what the SDK hands out, `window.states` what it says of itself.
FOLLOW = """async ([url, apiKey, channels]) => {
    const { Live } = await import("/web/live/index.js");
    window.told = []; window.resets = []; window.states = []; window.joined = 0;
    window.live = new Live({ url, apiKey, random: () => Math.random() / 20, onState: ({ state }) => states.push(state) });
    live.subscribeAll(channels, {
        onEvent: ({ channel, offset, event }) => told.push([channel, offset, event.id]),
        onReset: (frame) => resets.push(frame), onJoined: () => joined++,
    });
    live.open();
}"""
FOLLOW_BARE = """([url, key, channels]) => {
    window.toldBare = []; window.resetsBare = [];
    const random = Math.random; Math.random = () => random() / 20;
    bareClient(url.replace("http", "ws") + "/v2/stream", key, channels,
        ({ channel, offset, event }) => toldBare.push([channel, offset, event.id]), (frame) => resetsBare.push(frame));
}"""


@pytest.fixture
async def own(urls: EngineUrls) -> Organisation:
    """An organisation of the hub."""
    return await Organisations(urls.database_url).create()


@pytest.fixture
async def hub(hubs: HubProcesses, urls: EngineUrls) -> HubProcess:
    """One node."""
    return await hubs.start(urls=urls)


async def page_of(browser: BrowserContext, gate: FaultProxy, key: str) -> Page:
    """Open a page of the hub that is behind the proxy, which follows the channels by the SDK."""
    page = await browser.new_page()
    await page.goto(gate.url())
    await page.evaluate(FOLLOW, [gate.url(), key, CHANNELS])
    await eventually(lambda: page.evaluate("live.state === 'live'"), what="live")
    return page


async def has(page: Page, count: int, name: str = "told") -> list[Any]:
    """Wait until so many events have come; return them."""
    await eventually(lambda: page.evaluate(f"{name}.length >= {count}"), within=60, what=f"{count} events in {name}")
    return await page.evaluate(name)


async def wrote(hub: HubProcess, key: str, count: int) -> None:
    """Create agents."""
    async with RestClient(hub.base_url, key) as client:
        for number in range(count):
            await client.call("POST", "/v2/agents", {"name": f"Nr. {number}"})


def freeze(gate: FaultProxy) -> None:
    """Let its connections lead nowhere from now on, and nobody be told."""
    for connection in gate.alive:
        connection.down.freeze()
        connection.up.freeze()


async def test_sdk_and_a_bare_client_agree_while_connections_are_cut(
    hubs: HubProcesses,
    urls: EngineUrls,
    own: Organisation,
    proxies: FaultProxies,
    write_on: WriteOn,
    seed: int,
    browser: BrowserContext,
):
    """Both are told every event of the log once, in order, whatever happens to connections and to a node."""
    rng = random.Random(seed)
    nodes = await hubs.start_many(2, urls=urls)
    gate = await proxies.open(nodes[0].base_url)
    key = await own.key()
    page = await page_of(browser, gate, key)
    await page.evaluate("() => {" + BARE.read_text() + "}")
    await page.evaluate(FOLLOW_BARE, [gate.url(), key, CHANNELS])
    await eventually(lambda: len(gate.alive) >= 2, what="both are connected")
    async with write_on(own, key, nodes) as writer:
        await writer.more(20)
        for number in range(12):
            await writer.more(rng.randrange(3, 12))
            if number == 6:
                nodes[0].kill()
                gate.server = Address.of(nodes[1].base_url)
            gate.cut_all(rng.choice(("rst", "fin")))
        await writer.stop()
    ledger: Ledger = writer.ledger
    await ledger.settle()
    mine = [[entry.channel.partition(":")[0], str(entry.position), entry.event_id] for entry in ledger.log]
    assert await has(page, len(mine)) == mine
    bare = await has(page, 1, "toldBare")
    await eventually(
        lambda: page.evaluate("toldBare.at(-1)[1] === told.at(-1)[1]"), within=60, what="the bare client's last"
    )
    bare = await page.evaluate("toldBare")
    assert bare == mine[len(mine) - len(bare) :]
    assert await page.evaluate("[resets, resetsBare]") == [[], []]


async def test_twenty_tabs_come_back_and_each_has_every_event_once(
    hub: HubProcess,
    own: Organisation,
    proxies: FaultProxies,
    hubs: HubProcesses,
    urls: EngineUrls,
    browser: BrowserContext,
):
    """Nineteen are hidden; the node is killed, and another one takes its place."""
    gate = await proxies.open(hub.base_url)
    key = await own.key()
    tabs = [await page_of(browser, gate, key) for _ in range(TABS)]
    await wrote(hub, key, 3)
    for tab in tabs:
        await has(tab, 3)
    other = await hubs.start(urls=urls)
    hub.kill()
    gate.server = Address.of(other.base_url)
    await wrote(other, key, 3)
    told = await asyncio.gather(*(has(tab, 6) for tab in tabs))
    assert [len(each) for each in told] == [6] * TABS
    assert all(each == told[0] for each in told)


async def test_page_that_slept_for_half_an_hour_is_there_at_once(
    hub: HubProcess, own: Organisation, proxies: FaultProxies, browser: BrowserContext
):
    """Its clock moves by 30 minutes while its connection dies without a word."""
    gate = await proxies.open(hub.base_url)
    key = await own.key()
    page = await browser.new_page()
    await page.clock.install()
    await page.goto(gate.url())
    await page.evaluate(FOLLOW, [gate.url(), key, CHANNELS])
    await eventually(lambda: page.evaluate("live.state === 'live'"), what="live")
    freeze(gate)
    await wrote(hub, key, 5)
    await page.clock.fast_forward("30:00")
    assert len(await has(page, 5)) == 5
    assert await page.evaluate("states") == [
        "connecting",
        "joining",
        "live",
        "waiting",
        "connecting",
        "joining",
        "live",
    ]


async def test_another_network_is_noticed_when_the_browser_says_so(
    hub: HubProcess, own: Organisation, proxies: FaultProxies, browser: BrowserContext
):
    """The old connection leads nowhere; `online` makes the client find out, and it goes on by the new network."""
    gate = await proxies.open(hub.base_url)
    key = await own.key()
    page = await page_of(browser, gate, key)
    freeze(gate)
    await wrote(hub, key, 5)
    await page.evaluate("dispatchEvent(new Event('online'))")
    assert len(await has(page, 5)) == 5


async def test_tab_that_is_stopped_for_half_an_hour_beside_others_has_every_event_once(
    hub: HubProcess, own: Organisation, proxies: FaultProxies, browser: BrowserContext
):
    """Nothing runs in it, and its connection dies without a word; then its clock has moved. The others go on as if nothing was."""
    key = await own.key()
    bed, street = await proxies.open(hub.base_url), await proxies.open(hub.base_url)
    others = [await page_of(browser, street, key) for _ in range(2)]
    sleeper = await browser.new_page()
    await sleeper.clock.install()
    await sleeper.goto(bed.url())
    await sleeper.evaluate(FOLLOW, [bed.url(), key, CHANNELS])
    await eventually(lambda: sleeper.evaluate("live.state === 'live'"), what="live")
    # A browser without a window freezes no page, for it hides none: the debugger stops it.
    devtools = await browser.new_cdp_session(sleeper)
    await devtools.send("Debugger.enable")
    await devtools.send("Debugger.pause")
    freeze(bed)
    waking = asyncio.create_task(sleeper.clock.fast_forward("30:00"))
    await wrote(hub, key, 5)
    told = [await has(each, 5) for each in others]
    assert not waking.done()
    await devtools.send("Debugger.resume")
    await waking
    await wrote(hub, key, 2)
    whole = await has(sleeper, 7)
    assert [await has(each, 7) for each in others] == [whole, whole]
    assert told == [whole[:5], whole[:5]]
    assert len({event for _, _, event in whole}) == 7
    assert [await each.evaluate("states") for each in others] == [["connecting", "joining", "live"]] * 2
    assert await sleeper.evaluate("[states[3], resets]") == ["waiting", []]


async def test_tabs_that_lose_their_network_go_on_by_another(
    hubs: HubProcesses, urls: EngineUrls, own: Organisation, proxies: FaultProxies, browser: BrowserContext
):
    """The browser itself goes offline, and comes back where the way leads to another node; the old connections lead nowhere."""
    nodes = await hubs.start_many(2, urls=urls)
    gate = await proxies.open(nodes[0].base_url)
    key = await own.key()
    tabs = [await page_of(browser, gate, key) for _ in range(3)]
    old = set(gate.alive)
    await browser.set_offline(True)
    freeze(gate)
    await wrote(nodes[0], key, 5)
    gate.server = Address.of(nodes[1].base_url)
    assert [await each.evaluate("[navigator.onLine, told.length]") for each in tabs] == [[False, 0]] * 3
    await browser.set_offline(False)
    told = [await has(each, 5) for each in tabs]
    await wrote(nodes[1], key, 2)
    told = [await has(each, 7) for each in tabs]
    assert told == [told[0]] * 3
    assert len({event for _, _, event in told[0]}) == 7
    assert len(set(gate.alive) - old) >= len(tabs)
