"""The chat on the page at `/`: an agent answers from a knowledge base while one reads; branches; what two see."""

import asyncio
import re

import pytest
from playwright.async_api import BrowserContext, Locator, Page, Route, expect

from tests.harness.hub_process import HubProcess
from tests.harness.rest_client import RestClient
from tests.harness.waiting import PATIENCE_SECONDS
from tests.journeys.test_page import HOSTILE, hub, key, opened, organisation, rows

__all__ = ["hub", "key", "organisation"]  # fixtures: one hub, as of the page's other tests

pytestmark = pytest.mark.browser

RETURNS = "# Returns\n\nShoes can be returned within 30 days. A refund takes five working days.\n"


async def chat_with(page: Page, name: str) -> Locator:
    """Open the chat with an agent, as a person does."""
    await page.locator("#agents").get_by_role("button", name=name).click()
    chat = page.get_by_role("region", name=name)
    await expect(chat).to_be_visible()
    return chat


async def say(chat: Locator, text: str) -> None:
    await chat.get_by_label("Message").fill(text)
    await chat.get_by_label("Message").press("Enter")


async def shows(chat: Locator, *texts: str) -> None:
    """Wait until these are the messages, and no answer is being written."""
    await expect(chat.locator("#writing")).to_be_hidden()
    await expect(chat.locator("#messages .text")).to_have_text([re.compile(re.escape(each)) for each in texts])


async def test_agent_answers_from_a_knowledge_base(browser: BrowserContext, hub: HubProcess, key: str):
    """With its source; an edited question and another try are branches; a reload shows the same conversation."""
    async with RestClient(hub.base_url, key) as client:
        base = (await client.call("POST", "/v2/knowledge", {"name": "Shop"})).body["id"]
        document = {"name": "returns.md", "content": RETURNS}
        await client.call("POST", f"/v2/knowledge/{base}/documents", document, Prefer="wait=20")
        await client.call("POST", "/v2/agents", {"name": "Ada"})
        page = await opened(browser, hub, key)
        chat = await chat_with(page, "Ada")
        await say(chat, "How long does a refund take?")
        await shows(chat, "How long does a refund take?", "five working days")
        await expect(chat.locator(".citations")).to_contain_text("Returns")
        # What an agent does is no other agent.
        await expect(page.locator('#events .line .type[data-verb="completed"]')).to_be_visible()
        await rows(page, "agents", "Ada")
        await expect(chat.get_by_label("Conversation").locator("option:checked")).to_have_text(
            "How long does a refund take?"
        )

        await chat.get_by_role("button", name="Send it otherwise").click()
        await expect(chat.locator("#editing")).to_be_visible()
        await say(chat, "Until when can shoes be returned?")
        await shows(chat, "Until when can shoes be returned?", "30 days")
        await expect(chat.locator(".branch")).to_have_text("2 of 2")
        await chat.get_by_role("button", name="The branch before").click()
        await shows(chat, "How long does a refund take?", "five working days")
        await chat.get_by_role("button", name="Another answer").click()
        await expect(chat.locator(".branch")).to_have_text(["1 of 2", "2 of 2"])
        await shows(chat, "How long does a refund take?", "five working days")

        await page.reload()
        await shows(chat, "How long does a refund take?", "five working days")
        await chat.get_by_label("Conversation").select_option("New conversation")
        await expect(chat.locator("#messages li")).to_have_count(0)
        await say(chat, "Who won the chess championship of 1921?")
        await expect(chat.locator("#messages li")).to_have_count(2)
        await expect(chat.get_by_label("Conversation").locator("option")).to_have_count(3)


@pytest.mark.parametrize("title", ["Shoes", None], ids=["one is there", "none is there"])
async def test_message_that_is_sent_before_the_conversations_are_there(
    browser: BrowserContext, hub: HubProcess, key: str, title: str | None
):
    """It waits for them, and is said once, in the one that is opened then.

    Where a conversation was begun at once, its answer came after the list was shown: the order in which what was said got lost.
    """
    async with RestClient(hub.base_url, key) as client:
        agent = (await client.call("POST", "/v2/agents", {"name": "Ada"})).body["id"]
        if title is not None:
            await client.call("POST", f"/v2/agents/{agent}/sessions", {"title": title})
    page = await opened(browser, hub, key)
    asked, may_list, may_begin = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        asked.set()
        await (may_list if route.request.method == "GET" else may_begin).wait()
        await route.continue_()

    await page.route(re.compile(r"/sessions(\?|$)"), late)
    chat = await chat_with(page, "Ada")
    await say(chat, "How long?")
    await chat.get_by_label("Message").press("Enter")
    await asyncio.wait_for(asked.wait(), PATIENCE_SECONDS)
    await expect(chat.locator("#messages li")).to_have_count(0)
    async with page.expect_response(lambda answer: answer.request.method == "GET") as listed:
        may_list.set()
    await (await listed.value).finished()
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    may_begin.set()
    await expect(chat.locator("#messages li")).to_have_count(2)
    await expect(chat.locator("#messages .text").first).to_have_text("How long?")
    await expect(chat.get_by_label("Conversation").locator("option:checked")).to_have_text(title or "How long?")
    await expect(chat.get_by_label("Message")).to_have_value("")


async def test_two_pages_see_the_same_answer(browser: BrowserContext, hub: HubProcess, key: str):
    """One writes, the other watches; what holds markup stays text."""
    async with RestClient(hub.base_url, key) as client:
        await client.call("POST", "/v2/agents", {"name": "Ada"})
        writer = await chat_with(await opened(browser, hub, key), "Ada")
        await say(writer, HOSTILE)
        await expect(writer.locator("#messages li")).to_have_count(2)
        page = await opened(browser, hub, key)
        watcher = await chat_with(page, "Ada")
        await expect(watcher.locator("#messages li")).to_have_count(2)
        await say(writer, "And?")
        await expect(watcher.locator("#messages li")).to_have_count(4)
        await expect(watcher.locator("#messages .text").first).to_have_text(HOSTILE)
    assert await page.evaluate("window.ran") is None
