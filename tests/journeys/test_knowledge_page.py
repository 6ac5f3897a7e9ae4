"""The view of a knowledge base on the page at `/`: files go in, become ready before the reader's eyes, and answer."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.harness.hub_process import HubProcess
from tests.harness.rest_client import RestClient
from tests.journeys.test_page import HOSTILE, hub, key, opened, organisation

__all__ = ["hub", "key", "organisation"]  # fixtures: one hub, as of the page's other tests

pytestmark = pytest.mark.browser

PAGE = """# Returns

Shoes can be returned within 30 days. Send them to the warehouse in Lyon.

## Refunds

A refund takes five working days.
"""


async def drop(page: Page, name: str, text: str) -> None:
    """Drop a file onto the place for it, as a person does."""
    data = await page.evaluate_handle(
        "([name, text]) => { const data = new DataTransfer(); data.items.add(new File([text], name)); return data; }",
        [name, text],
    )
    await page.dispatch_event("#base .drop", "drop", {"dataTransfer": data})


async def test_files_go_in_become_ready_and_answer(browser: BrowserContext, hub: HubProcess, key: str, tmp_path: Path):
    """By drag and drop and by the picker; a question shows its answer with what it cites, and results with highlights."""
    async with RestClient(hub.base_url, key) as client:
        await client.call("POST", "/v2/knowledge", {"name": "Shop"})
        page = await opened(browser, hub, key)
        await page.get_by_role("button", name="Shop").click()
        base = page.get_by_role("region", name="Shop")
        await expect(base.locator("#documents-remark")).to_have_text("No documents yet")
        await drop(page, "returns.md", PAGE)
        row = base.get_by_role("row", name="returns.md")
        await expect(row.locator(".status")).to_have_text("Ready")
        (tmp_path / "hours.txt").write_text("The shop in Ghent is open on Sundays.")
        (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 this is none")
        await base.get_by_label("Drop files here").set_input_files([tmp_path / "hours.txt", tmp_path / "broken.pdf"])
        await expect(base.get_by_role("row", name="hours.txt").locator(".status")).to_have_text("Ready")
        broken = base.get_by_role("row", name="broken.pdf")
        await expect(broken.locator(".status")).to_have_text("Failed")
        await expect(broken.locator(".why")).not_to_be_empty()
        await expect(base.locator("#documents .count")).to_have_text("3")

        await base.get_by_label("Question").fill("How long does a refund take?")
        await base.get_by_role("button", name="Ask").click()
        await expect(base.locator("#answer .answer")).to_contain_text("five working days")
        await expect(base.locator("#answer .citations")).to_contain_text("Returns")
        await expect(base.locator("#results mark").first).to_contain_text("refund", ignore_case=True)
        await base.get_by_label("Question").fill("Who won the chess championship of 1921?")
        await base.get_by_role("button", name="Ask").click()
        await expect(base.locator("#answer .unsupported")).to_be_visible()
        await base.get_by_role("button", name="Close").click()
        await expect(base).to_be_hidden()


async def test_document_that_holds_markup_stays_text(browser: BrowserContext, hub: HubProcess, key: str):
    """Whoever may upload may not run anything in the pages of those who ask."""
    async with RestClient(hub.base_url, key) as client:
        made = await client.call("POST", "/v2/knowledge", {"name": HOSTILE})
        hostile = {"name": f"x{HOSTILE[:60]}.txt".replace("/", ""), "content": f"The weather is {HOSTILE} today."}
        await client.call("POST", f"/v2/knowledge/{made.body['id']}/documents", hostile, Prefer="wait=20")
        page = await opened(browser, hub, key)
        await page.locator("#knowledge li button").click()
        await expect(page.locator("#documents .status")).to_have_text("Ready")
        await page.get_by_label("Question").fill("How is the weather?")
        await page.get_by_role("button", name="Ask").click()
        await expect(page.locator("#results li")).to_have_count(1)
    assert await page.locator("#base img, #base script").count() == 0
    assert await page.evaluate("window.ran") is None
