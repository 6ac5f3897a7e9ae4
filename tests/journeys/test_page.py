"""The page at `/`, in a real browser: the key, live lines, hostile names, and coming back after the hub was killed."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Page, expect

from core.store.engines import EngineUrls
from hub.main import LIVE, WEB
from hub.pages import PageDoor
from hub.stream.codes import ALL_CODES, comes_back
from tests.harness.engines import run
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation, Organisations
from tests.harness.rest_client import Answer, RestClient
from tests.harness.waiting import eventually

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.ran = 1"><script>window.ran = 1</script>'


@pytest.fixture(scope="module")
def hub(urls: EngineUrls) -> Iterator[HubProcess]:
    """One node."""
    processes = HubProcesses()
    yield run(processes.start(urls=urls))
    processes.end()


@pytest.fixture
async def organisation(urls: EngineUrls) -> Organisation:
    """An organisation of the hub."""
    return await Organisations(urls.database_url).create()


@pytest.fixture
async def key(organisation: Organisation) -> str:
    """A key with every scope."""
    return await organisation.key()


async def opened(browser: BrowserContext, hub: HubProcess, key: str) -> Page:
    """Open the page, give it the key, and wait until it is live."""
    page = await browser.new_page()
    await page.goto(hub.base_url)
    await give(page, key)
    await is_live(page)
    return page


async def give(page: Page, key: str) -> None:
    """Type the key, as a person does."""
    await page.get_by_label("API key or token").fill(key)
    await page.get_by_role("button", name="Open").click()


async def is_live(page: Page) -> None:
    """Wait until the page says that it is connected."""
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()


async def shows(page: Page, *answers: Answer) -> None:
    """Wait until the events of these writes, the newest last, are all that the page shows, once each."""
    newest_first = [answer.event_id for answer in reversed(answers)]
    last = page.locator(f'[data-event="{newest_first[0]}"]')
    await expect(last).to_be_visible()
    lines: list[Any] = await page.locator("#events .line").evaluate_all(
        "lines => lines.map(line => line.dataset.event)"
    )
    assert lines == newest_first


async def rows(page: Page, kind: str, *names: str) -> None:
    """Wait until the list of this kind was read and holds these names, the newest first, and the right count."""
    await expect(page.locator(f"#{kind} li .name")).to_have_text(list(names))
    await expect(page.locator(f"#{kind} .count")).to_have_text(str(len(names)))


async def test_lines_and_lists_follow_writes_of_another_client(browser: BrowserContext, hub: HubProcess, key: str):
    """Each write is a line with time, type, name and subject, which opens to its JSON; the lists are those of REST."""
    async with RestClient(hub.base_url, key) as client:
        before = await client.call("POST", "/v2/twins", {"name": "Made before"})
        page = await opened(browser, hub, key)
        await rows(page, "twins", "Made before")
        made = await client.call("POST", "/v2/agents", {"name": "Ada", "type": "assistant"})
        await shows(page, made)
        await rows(page, "agents", "Ada")
        subject = f"agents/{made.body['id']}"
        line = page.locator("#events .line").first
        await expect(line.locator("summary")).to_have_text(
            re.compile(rf"^\d\d:\d\d:\d\d\s*agent\.created\s*Ada\s*{subject}$")
        )
        await line.locator("summary").press("Enter")
        await expect(line.locator("pre")).to_contain_text(f'"subject": "{subject}"')
        changed = await client.call("PATCH", f"/v2/{subject}", {"name": "Ada the second"})
        await rows(page, "agents", "Ada the second")
        gone = await client.call("DELETE", f"/v2/{subject}")
        gone_before = await client.call("DELETE", f"/v2/twins/{before.body['id']}")
        await shows(page, made, changed, gone, gone_before)
    await expect(page.locator("#events .line .name")).to_have_text(
        ["Made before", "Ada the second", "Ada the second", "Ada"]
    )
    await rows(page, "agents")
    await rows(page, "twins")


async def test_browser_is_given_compression(browser: BrowserContext, hub: HubProcess, key: str):
    """What the page of these tests shows came compressed where that pays."""
    page = await opened(browser, hub, key)
    agreed = await page.evaluate(
        """() => new Promise((resolve, reject) => {
            const socket = new WebSocket(location.origin.replace("http", "ws") + "/v2/stream");
            socket.onopen = () => { resolve(socket.extensions); socket.close(); };
            socket.onerror = reject;
        })"""
    )
    assert agreed.startswith("permessage-deflate; server_no_context_takeover; client_no_context_takeover")


async def test_form_creates_what_its_curl_line_would_create(browser: BrowserContext, hub: HubProcess, key: str):
    """The line in the terminal marks the key's place, and holds no key; the form's write is seen like any other."""
    page = await opened(browser, hub, key)
    await page.get_by_role("radio", name="Knowledge base").check()
    await page.get_by_role("textbox", name="Name").fill("It's a handbook")
    curl = page.locator("#curl")
    await expect(curl).to_contain_text(f"curl {hub.base_url}/v2/knowledge ")
    await expect(curl).to_contain_text("""-d '{"name":"It'\\''s a handbook","type":"documentation"}'""")
    await expect(curl.locator("mark")).to_have_text("$HUB_KEY")
    await page.get_by_role("button", name="Create").click()
    await rows(page, "knowledge", "It's a handbook")
    await expect(page.locator("#events .line .type")).to_have_text(["knowledge.created"])
    assert key not in await page.content()
    assert key not in page.url


async def test_name_that_holds_markup_stays_text(browser: BrowserContext, hub: HubProcess, key: str):
    """Whoever may write a name may not run anything in the pages of those who read it."""
    page = await opened(browser, hub, key)
    async with RestClient(hub.base_url, key) as client:
        made = await client.call("POST", "/v2/agents", {"name": HOSTILE})
        await shows(page, made)
    await expect(page.locator("#events .line .name")).to_have_text(HOSTILE)
    await rows(page, "agents", HOSTILE)
    await page.locator("#events .line summary").click()
    await expect(page.locator("#events .line pre")).to_contain_text("onerror")
    assert await page.locator("#app img, #app script").count() == 0
    assert await page.evaluate("window.ran") is None


async def test_wrong_key_is_refused_with_the_reason_and_another_may_be_given(
    browser: BrowserContext, hub: HubProcess, key: str, organisation: Organisation
):
    """The page shows what the hub says of a key, at the door and later, and asks for another one."""
    page = await browser.new_page()
    await page.goto(hub.base_url)
    await give(page, "aim_live_nonsense")
    await expect(page.get_by_role("alert")).to_contain_text("key")
    await expect(page.locator("#app")).to_be_hidden()
    await give(page, key)
    await is_live(page)
    await rows(page, "agents")
    await rows(page, "knowledge")
    await rows(page, "twins")
    await organisation.revoke(key)
    await expect(page.get_by_role("alert")).to_have_text("Credential revoked")
    await page.reload()
    await expect(page.get_by_label("API key or token")).to_be_visible()
    await give(page, await organisation.key())
    await is_live(page)


async def test_reload_keeps_key_and_lines_and_another_tab_has_neither(
    browser: BrowserContext, hub: HubProcess, key: str
):
    """The key is the tab's; what was shown before a reload comes again from the log, once."""
    page = await opened(browser, hub, key)
    async with RestClient(hub.base_url, key) as client:
        first = await client.call("POST", "/v2/agents", {"name": "Before"})
        await shows(page, first)
        await page.reload()
        await is_live(page)
        await shows(page, first)
        second = await client.call("POST", "/v2/agents", {"name": "After"})
        await shows(page, first, second)
        await rows(page, "agents", "After", "Before")
    other = await browser.new_page()
    await other.goto(hub.base_url)
    await expect(other.get_by_label("API key or token")).to_be_visible()


async def test_page_comes_back_to_a_killed_hub_and_shows_once_what_it_missed(
    hubs: HubProcesses, urls: EngineUrls, browser: BrowserContext, key: str
):
    """A node is killed and started again at the same port, and meanwhile another node went on writing."""
    hub, other = await hubs.start_many(2, urls=urls)
    page = await opened(browser, hub, key)
    async with RestClient(other.base_url, key) as client:
        before = await client.call("POST", "/v2/agents", {"name": "Before"})
        await shows(page, before)
        # A list that is being read when the hub goes would be an error in the console.
        await rows(page, "agents", "Before")
        await rows(page, "knowledge")
        await rows(page, "twins")
        hub.kill()
        await expect(page.locator("#state")).to_have_text("Reconnecting")
        missed = [await client.call("POST", "/v2/twins", {"name": f"Missed {number}"}) for number in range(3)]
        command = (sys.executable, "-m", "hub", "serve", "--port", str(urlsplit(hub.base_url).port))
        await hubs.start(urls=urls, command=command)
        await is_live(page)
        after = await client.call("POST", "/v2/agents", {"name": "After"})
        await shows(page, before, *missed, after)
    await rows(page, "agents", "After", "Before")
    await rows(page, "twins", "Missed 2", "Missed 1", "Missed 0")
    await expect(page.locator("#events .note")).to_contain_text("Nothing was missed")


async def test_reset_is_shown_once_and_the_lists_are_read_again(browser: BrowserContext, hub: HubProcess, key: str):
    """A place of another life of the log cannot be honoured: the reader is told, and sees what there is now."""
    page = await opened(browser, hub, key)
    async with RestClient(hub.base_url, key) as client:
        await shows(page, await client.call("POST", "/v2/agents", {"name": "There"}))
        await page.evaluate("""sessionStorage.setItem("hub.since", '{"offset": "1", "epoch": "another"}')""")
        await page.reload()
        await expect(page.locator("#events .note")).to_contain_text("the log has begun anew")
        await rows(page, "agents", "There")
        after = await client.call("POST", "/v2/agents", {"name": "After"})
        await shows(page, after)
    assert await page.locator("#events .note").count() == 1


class ScriptedHub:
    """The hub's end of the stream, saying what a real hub says only when something is wrong with it."""

    def __init__(self) -> None:
        self.subscribed: list[Any] = []
        self._was_asked_thrice = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def listen(self) -> str:
        """Serve the page and a stream at a free port; return the address."""
        app = web.Application()
        PageDoor(WEB, LIVE).add_to(app)
        app.router.add_get("/v2/stream", self._stream)
        app.router.add_get("/v2/{kind}", self._list)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        """Answer late, with what was there before the events."""
        await self._was_asked_thrice.wait()
        old = [{**event(offset)["data"], "name": "Old", "version": 0} for offset in ("10", "9")]
        data = old if request.match_info["kind"] == "agents" else []
        return web.json_response({"data": data, "pagination": {"page": 1, "per_page": 100, "total": len(data)}})

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("aimatrix.json",))
        await socket.prepare(request)
        opening = await socket.receive_json()
        await socket.send_json({"type": "welcome", "id": opening["id"], "ping_interval_ms": 25_000})
        asked = await socket.receive_json()
        wanted = asked["channels"]
        self.subscribed.append(wanted)
        if len(self.subscribed) == 3:
            self._was_asked_thrice.set()
        places = [{"offset": "0", "epoch": "e", "recovered": True, **item} for item in wanted]
        await socket.send_json({"type": "subscribed", "id": asked["id"], "channels": places})
        first = len(self.subscribed) == 1
        for offset in ("9", "9", "10") if first else ("10", "11"):
            await socket.send_json({"type": "event", "channel": "agents", "offset": offset, "event": event(offset)})
        if first:
            await socket.send_json({"type": "position", "offset": "20", "epoch": "another"})
            await socket.send_json({"type": "disconnect", "code": 4000, "reconnect": True, "after_ms": 150})
        await socket.close(code=4000 if first else 4504, message=b"" if first else b"too many bad frames")
        return socket


def event(offset: str) -> dict[str, Any]:
    """Return an event whose id is its offset; 9 and 10 create an agent, 11 deletes the second."""
    number = min(int(offset), 10)
    data = {"id": f"a{number:02}", "name": f"Agent {number}", "type": "assistant", "version": 1}
    kind = "created"
    if offset == "11":
        kind, data = "deleted", {"id": "a10", "version": 2}
    time = "2026-01-01T00:00:00.000000Z"
    return {"id": offset, "type": f"agent.{kind}", "subject": f"agents/{data['id']}", "time": time, "data": data}


@pytest.fixture
async def scripted_hub() -> AsyncIterator[ScriptedHub]:
    """A stream by script, stopped at the end."""
    made = ScriptedHub()
    yield made
    await made.close()


async def test_doubled_frames_are_told_once_and_a_code_for_good_is_obeyed(
    scripted_hub: ScriptedHub, browser: BrowserContext
):
    """Offsets compare as numbers, of one epoch; a `disconnect` is followed, and after 4504 nobody comes back unasked."""
    page = await browser.new_page()
    await page.goto(await scripted_hub.listen())
    await give(page, "any")
    await expect(page.get_by_role("status").filter(has_text="Stopped")).to_be_visible()
    await expect(page.locator("#why")).to_have_text("Too many bad frames")
    await expect(page.locator("#events .line .name")).to_have_text(["Agent 10", "Agent 10", "Agent 9"])
    first, second = scripted_hub.subscribed
    assert first == [{"channel": channel} for channel in ("agents", "knowledge", "twins")]
    assert second[0] == {"channel": "agents", "offset": "10", "epoch": "e"}
    await page.get_by_role("button", name="Connect now").click()
    await eventually(lambda: len(scripted_hub.subscribed) == 3)
    # The list that was asked for at first comes now, and is older than the events.
    await rows(page, "agents", "Agent 9")


async def test_page_comes_back_after_the_codes_that_the_hub_says(scripted_hub: ScriptedHub, browser: BrowserContext):
    """The page's rule for close codes is the hub's, for codes that exist and those that may come; waits grow and vary."""
    page = await browser.new_page()
    await page.goto(await scripted_hub.listen())
    codes = [*(code.code for code in ALL_CODES), 1006, 1011, 1012, 3000, 3499, 3500, 3999, 4000, 4499, 4500, 4999]
    told = await page.evaluate("async codes => codes.map((await import('/web/live/rules.js')).comesBack)", codes)
    assert dict(zip(codes, told, strict=True)) == {code: comes_back(code) for code in codes}
    waits = await page.evaluate(
        "async () => { const { pause } = await import('/web/live/rules.js');"
        " return [0, 3, 50].map(failures => [pause(failures, 0), pause(failures, 1)]); }"
    )
    assert waits == [[0, 500], [0, 4000], [0, 30000]]
