"""The chat on the page at `/` with a model of a provider: an answer is stopped, outlives its hub, and waits for a person."""

import asyncio
import sys
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, expect

from core.store.engines import EngineUrls
from tests.harness.fake_provider import Asked, FakeProvider, Turn, serving
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.journeys.test_chat_page import chat_with, say, shows
from tests.journeys.test_page import is_live, opened

pytestmark = pytest.mark.browser

SUMMARY = '{"task": "summarize", "text": "One thing. Another thing."}'


@pytest.fixture
def urls(engines: EngineUrls, database_url: str, redis_url: str) -> EngineUrls:
    """A database of the test's own: no hub with another model does its jobs."""
    return EngineUrls(database_url, engines.superuser_url, redis_url)


def environment_of(provider: FakeProvider) -> dict[str, str]:
    """Return the settings of a hub whose model a provider has."""
    return {"HUB_MODEL_URL": provider.url, "HUB_MODEL_NAME": "of-a-test", "HUB_OUTBOUND_ALLOW": "127.0.0.0/8"}


async def test_answer_that_is_being_written_is_found_again_and_stopped(
    urls: EngineUrls, hubs: HubProcesses, browser: BrowserContext, organisation: Organisation
):
    """A reload in its middle shows what was written so far, and goes on to its end; one that is stopped stays as far as it came."""
    pieces = ("The refund ", "takes five days.")
    async with serving(FakeProvider(pieces, gate=asyncio.Event())) as provider:
        assert provider.gate is not None
        hub = await hubs.start(urls=urls, environment=environment_of(provider))
        key = await organisation.key()
        async with RestClient(hub.base_url, key) as client:
            await client.call("POST", "/v2/agents", {"name": "Ada"})
        page = await opened(browser, hub, key)
        chat = await chat_with(page, "Ada")
        await say(chat, "How long?")
        await expect(chat.locator("#writing .text")).to_have_text("The refund")
        await expect(chat.get_by_role("button", name="Send", exact=True)).to_be_hidden()
        await page.reload()
        await expect(chat.locator("#writing .text")).to_have_text("The refund")
        provider.gate.set()
        await shows(chat, "How long?", "The refund takes five days.")

        provider.gate.clear()
        await say(chat, "Really?")
        await expect(chat.locator("#writing .text")).to_have_text("The refund")
        await chat.get_by_role("button", name="Stop").click()
        await expect(chat.locator("#chat-message")).to_have_text("Stopped")
        await expect(chat.locator("#writing")).to_be_hidden()
        await expect(chat.locator("#messages .text").nth(2)).to_have_text("Really?")
        await expect(chat.get_by_role("button", name="Send", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("button", "told"),
    [("Let text_processing be called", "One thing."), ("Do not let text_processing be called", "Error: ")],
    ids=["allowed", "refused"],
)
async def test_person_is_asked_before_a_tool_is_called(
    urls: EngineUrls, hubs: HubProcesses, browser: BrowserContext, organisation: Organisation, button: str, told: str
):
    """With what it would be called with, after a reload too; the answer goes on from what the person has said."""
    turns = [Turn(["Let me see."], [Asked("text_processing", SUMMARY)]), Turn(["So it is."])]
    async with serving(FakeProvider(turns=turns)) as provider:
        hub = await hubs.start(urls=urls, environment=environment_of(provider))
        key = await organisation.key()
        async with RestClient(hub.base_url, key) as client:
            agent = {"name": "Ada", "config": {"approve": ["text_processing"]}}
            assert (await client.call("POST", "/v2/agents", agent)).status == 201
        page = await opened(browser, hub, key)
        chat = await chat_with(page, "Ada")
        await say(chat, "What is there?")
        asked = chat.locator("#writing .asked")
        await expect(asked).to_contain_text('"task":"summarize"')
        await page.reload()
        await expect(asked).to_have_count(1)
        await expect(chat.locator("#writing .text")).to_have_text("Let me see.")
        await expect(chat.locator("#writing .doing")).to_have_text("Waits for your answer")
        assert len(provider.calls) == 1
        await asked.get_by_role("button", name=button, exact=True).click()
        await shows(chat, "What is there?", "Let me see.\n\nSo it is.")
        await expect(asked).to_have_count(0)
        (result,) = [each["content"] for each in provider.calls[-1]["messages"] if each["role"] == "tool"]
        assert told in result
        assert len(provider.calls) == 2


async def test_answer_whose_hub_is_killed_comes_whole_by_itself(
    urls: EngineUrls, hubs: HubProcesses, browser: BrowserContext, organisation: Organisation
):
    """Another hub on the same data goes on: nobody touches the page, and what the dead one had begun is in no answer."""
    async with serving(FakeProvider(("The refund ", "takes five days."), gate=asyncio.Event())) as provider:
        assert provider.gate is not None
        environment = environment_of(provider)
        hub = await hubs.start(urls=urls, environment=environment)
        page = await opened(browser, hub, await organisation.key())
        async with RestClient(hub.base_url, await organisation.key()) as client:
            await client.call("POST", "/v2/agents", {"name": "Ada"})
        chat = await chat_with(page, "Ada")
        await say(chat, "How long?")
        writing = chat.locator("#writing .text")
        await expect(writing).to_have_text("The refund")
        await expect(chat.locator("#messages .text")).to_have_text(["How long?"])
        hub.kill()
        await expect(page.locator("#state")).to_have_text("Reconnecting")
        provider.pieces = ("A refund ", "is there ", "within a week.")
        command = (sys.executable, "-m", "hub", "serve", "--port", str(urlsplit(hub.base_url).port))
        await hubs.start(urls=urls, environment=environment, command=command, data=hub.data)
        await is_live(page)
        await expect(writing).to_have_text("A refund")
        provider.gate.set()
        await shows(chat, "How long?", "A refund is there within a week.")
        await expect(chat.locator("#messages .text")).to_have_text(["How long?", "A refund is there within a week."])
        await expect(chat.locator("#chat-message")).to_have_text("")
        await expect(chat.get_by_role("button", name="Send", exact=True)).to_be_visible()
        assert len(provider.calls) == 2
        await page.reload()
        await shows(chat, "How long?", "A refund is there within a week.")
