"""The page at `/docs`, in a real browser: try-it with the tab's key or one typed in, and nothing from or to another host."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, Locator, Page, Request, expect

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.ran = 1"><script>window.ran = 1</script>'


@pytest.fixture
async def hub(engines: EngineUrls, database_url: str, redis_url: str, hubs: HubProcesses) -> HubProcess:
    """One node."""
    return await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))


@pytest.fixture
async def key(organisation: Organisation) -> str:
    """A key with every scope."""
    return await organisation.key()


@pytest.fixture
async def page(hub: HubProcess, browser: BrowserContext) -> AsyncIterator[Page]:
    """A page; at the end, all that it has asked must have gone to the hub."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page = await browser.new_page()
    page.on("request", note)
    yield page
    own = urlsplit(hub.base_url).netloc
    assert asked
    assert [url for url in asked if urlsplit(url).scheme != "data" and urlsplit(url).netloc != own] == []


async def opened(page: Page, path: str, method: str) -> Locator:
    """Open an operation of agents, and return its place."""
    await page.locator('.opblock-tag[data-tag="agents"]').click()
    place = page.locator(f".opblock-{method}").filter(has=page.locator(f'[data-path="{path}"]'))
    await place.locator(".opblock-summary-control").click()
    return place


async def answer_of(place: Locator) -> Locator:
    """Send the request, and return the answer's place once it is there."""
    await place.get_by_role("button", name="Execute").click()
    answer = place.locator(".live-responses-table .response").first
    await expect(answer).to_be_visible()
    return answer


async def test_typed_key_is_used_to_try_a_request(page: Page, hub: HubProcess, key: str):
    """From the link on the page at `/` to a 200 with what there is."""
    async with RestClient(hub.base_url, key) as client:
        await client.call("POST", "/v2/agents", {"name": "Ada"})
    await page.goto(hub.base_url)
    await page.get_by_role("link", name="API").click()
    await expect(page.get_by_role("status")).to_contain_text("Give a key")
    agents = await opened(page, "/v2/agents", "get")
    await page.locator(".auth-wrapper").get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".dialog-ux")
    await expect(dialog.locator(".auth-container")).to_have_count(1)
    await dialog.get_by_role("textbox").fill(key)
    await dialog.get_by_role("button", name="Apply credentials").click()
    await dialog.get_by_role("button", name="Close").click()
    answer = await answer_of(agents)
    await expect(answer.locator(".response-col_status")).to_contain_text("200")
    await expect(answer).to_contain_text('"Ada"')
    assert await page.evaluate("JSON.stringify([sessionStorage, localStorage])") == "[{},{}]"


async def test_key_of_the_tab_is_used_and_a_hostile_name_stays_text(page: Page, hub: HubProcess, key: str):
    """Who has opened the page at `/` need not give the key again; what an answer holds is shown, and never run."""
    async with RestClient(hub.base_url, key) as client:
        await client.call("POST", "/v2/agents", {"name": HOSTILE})
    await page.goto(hub.base_url)
    await page.get_by_label("API key or token").fill(key)
    await page.get_by_role("button", name="Open").click()
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    await page.get_by_role("link", name="API").click()
    await expect(page.get_by_role("status")).to_contain_text("key of this tab")
    answer = await answer_of(await opened(page, "/v2/agents", "get"))
    await expect(answer.locator(".response-col_status")).to_contain_text("200")
    await expect(answer).to_contain_text("onerror")
    assert await page.locator("#api img[src=x], #api script").count() == 0
    assert await page.evaluate("window.ran") is None
