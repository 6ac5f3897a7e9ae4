"""The rooms on the page at `/`: people talk to each other, see who is here and who types, and take back what they said."""

import re

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.harness.hub_process import HubProcess
from tests.harness.organisations import Organisation
from tests.journeys.test_page import HOSTILE, hub, is_live, key, opened, organisation

__all__ = ["hub", "key", "organisation"]  # fixtures: one hub, as of the page's other tests

pytestmark = pytest.mark.browser


async def entered(page: Page, name: str) -> Locator:
    """Enter a room, as a person does."""
    await page.get_by_label("Room", exact=True).fill(name)
    await page.get_by_role("button", name="Enter").click()
    room = page.get_by_role("region", name=name)
    await expect(room).to_be_visible()
    return room


async def say(room: Locator, text: str) -> None:
    """Say something."""
    await room.get_by_label("Say", exact=True).fill(text)
    await room.get_by_label("Say", exact=True).press("Enter")


async def shows(room: Locator, *texts: str) -> None:
    """Wait until this is what was said."""
    await expect(room.locator("#room-said .text")).to_have_text([re.compile(re.escape(each)) for each in texts])


async def test_two_talk_see_each_other_and_take_back(
    browser: BrowserContext, hub: HubProcess, key: str, organisation: Organisation
):
    """What one says both read, as text; who types is seen; what is removed is gone for both, also after a reload."""
    ann = await opened(browser, hub, key)
    bob = await opened(browser, hub, await organisation.key())
    hers, his = await entered(ann, "lobby"), await entered(bob, "lobby")
    await expect(hers.locator("#room-members li")).to_have_count(2)
    await expect(his.locator("#room-members li", has_text="You")).to_have_count(1)
    await his.get_by_label("Say", exact=True).press_sequentially("H")
    await expect(hers.locator("#room-typing")).to_contain_text("types")
    await say(hers, HOSTILE)
    await say(his, "Hello, Ann")
    await shows(hers, HOSTILE, "Hello, Ann")
    await shows(his, HOSTILE, "Hello, Ann")
    assert await bob.evaluate("window.ran") is None
    await expect(hers.locator("#room-typing")).to_have_text("")
    await expect(his.get_by_role("button", name="Remove")).to_have_count(1)
    await hers.get_by_role("button", name="Remove").click()
    await shows(his, "Hello, Ann")
    await ann.reload()
    await is_live(ann)
    await shows(ann.get_by_role("region", name="lobby"), "Hello, Ann")
    await his.get_by_role("button", name="Leave").click()
    await expect(ann.locator("#room-members li")).to_have_count(1)
    await expect(bob.get_by_label("Room", exact=True)).to_be_visible()


async def test_room_that_may_not_be_entered_says_why(
    browser: BrowserContext, hub: HubProcess, organisation: Organisation
):
    """A credential without the scope for chats sees the refusal, and the rest of the page works."""
    scopes = ("read:agents", "read:knowledge", "read:twins")
    page = await opened(browser, hub, await organisation.key(scopes))
    room = await entered(page, "lobby")
    await expect(room.locator("#room-message")).to_contain_text("scope")
