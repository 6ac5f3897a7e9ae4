"""A browser's EventSource follows the log and a room, is cut, and comes back with a new ticket and its last id, missing nothing."""

from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.proxy import FaultProxies
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

pytestmark = pytest.mark.browser

# As docs/sse.md has it; `told` is what the page has heard, `opened` counts the streams.
FOLLOW = """
([key, channels]) => {
    window.told = []; window.opened = 0;
    async function follow(last) {
        const sent = { method: "POST", headers: { Authorization: `Bearer ${key}` } };
        const { ticket } = await (await fetch("/v2/stream/tickets", sent)).json();
        const source = new EventSource(`/v2/stream/events?${new URLSearchParams({ channels, ticket, last_event_id: last })}`);
        source.onopen = () => { window.opened += 1; };
        for (const type of ["event", "subscribed", "reset"])
            source.addEventListener(type, (message) => {
                last = message.lastEventId || last;
                window.told.push(JSON.parse(message.data));
            });
        source.onerror = () => { source.close(); setTimeout(follow, 50, last); };
    }
    follow("");
}
"""


async def told(page: Page, kind: str) -> list[dict[str, Any]]:
    """Return the frames of a type that the page has heard."""
    return [frame for frame in await page.evaluate("window.told") if frame["type"] == kind]


async def test_event_source_in_chromium(
    engines: EngineUrls,
    database_url: str,
    redis_url: str,
    organisation: Organisation,
    proxies: FaultProxies,
    hubs: HubProcesses,
    browser: BrowserContext,
):
    """Cut five times while there is writing; every event of the log and of the room comes once, in order."""
    hub = await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))
    gate = await proxies.open(hub.base_url)
    key = await organisation.key()
    page = await browser.new_page()
    await page.goto(gate.url())
    await page.evaluate(FOLLOW, [key, "agents,chat:lobby"])

    async def has_joined(count: int) -> bool:
        return len(await told(page, "subscribed")) >= count

    made: list[str] = []
    async with RestClient(hub.base_url, key) as rest:
        await eventually(lambda: has_joined(1))
        for cut in range(5):
            for number in range(5):
                made.append((await rest.call("POST", "/v2/agents", {"name": f"A{cut}{number}"})).body["id"])
                await rest.call("POST", "/v2/channels/chat:lobby/publish", {"data": 5 * cut + number})
                if number == 2:
                    gate.cut_all("fin")
            await eventually(lambda cut=cut: has_joined(cut + 2))

        async def has_all() -> bool:
            return len(await told(page, "event")) >= 50

        await eventually(has_all)
    events = await told(page, "event")
    assert [each["event"]["data"]["id"] for each in events if each["channel"] == "agents"] == made
    assert [each["event"]["data"] for each in events if each["channel"] == "chat:lobby"] == list(range(25))
    assert await told(page, "reset") == []
    assert await page.evaluate("window.opened") >= 6
