"""A real browser for the journeys over the hub's pages."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, ConsoleMessage, async_playwright, expect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
# What a browser says by itself of a hub that is away; anything else in the console is a fault of the page.
# A browser, a hub and its engines share the machine with whatever else runs there.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
AWAY = re.compile(r"^WebSocket connection to '[^']*' failed: ")
# Whether HTTP comes through where a socket does not is asked there.
AWAY_BY_HTTP = re.compile(r"/(readyz|v2/stream/events\?.*)$")


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> str:
    """The browser's program; without one the tests are skipped, and the run says so once, beside the dots."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"the pages were NOT tested: no browser on the PATH ({', '.join(NAMES)})"
        capture = request.config.pluginmanager.get_plugin("capturemanager")
        with nullcontext() if capture is None else capture.global_and_fixture_disabled():
            print(f"\n{reason}", flush=True)
        pytest.skip(reason)
    return found


@pytest.fixture
async def browser(chromium: str, tmp_path: Path) -> AsyncIterator[BrowserContext]:
    """A browser with an empty profile; at the end its console must hold no error but "not connected".

    A test asks for it after its hub, so that it is closed before.
    """
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        is_away = AWAY.match(message.text) or AWAY_BY_HTTP.search(str(message.location.get("url", "")))
        if message.type == "error" and not is_away:
            errors.append(message.text)

    async with async_playwright() as driver:
        context = await driver.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, args=list(ARGUMENTS), headless=True
        )
        context.set_default_timeout(PATIENCE_MS)
        context.on("console", note)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        yield context
        await context.close()
    assert errors == []
