"""Output encoding: what a caller wrote is data in every answer, header, error and page, and never markup, a line or a script."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from urllib.parse import quote, urlsplit

import aiohttp
import pytest

from core.store.engines import EngineUrls
from hub.main import LIVE, WEB
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.rest.server import Answer, RestServer

SCRIPT = '<script>window.ran=1</script><img src=x onerror="window.ran=1">'
LINES = "a\r\nSet-Cookie: taken=1\r\n\r\n<script>"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
# What gives text to the HTML parser, or to the compiler.
SINKS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|javascript:"
)


class Markup(HTMLParser):
    """The elements of a page, and what of it would run without a file of the hub."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.inline: list[str] = []
        self.addresses: list[str] = []
        self._is_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = dict(attrs)
        self._is_script = tag in ("script", "style")
        self.inline += [name for name in named if name.startswith("on") or name == "style"]
        self.addresses += [named[name] or "" for name in ("src", "href") if name in named]

    def handle_endtag(self, tag: str) -> None:
        self._is_script = False

    def handle_data(self, data: str) -> None:
        if self._is_script and data.strip():
            self.inline.append(data)


def is_inert(answer: Answer) -> None:
    """Check that no browser takes an answer for anything but data, and no header has a part of it unencoded."""
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if answer.body:
        assert answer.headers["Content-Type"].partition(";")[0].endswith("json")
    assert "Set-Cookie" not in answer.headers
    for value in answer.headers.values():
        assert value.isascii()
        assert value.isprintable()
        assert "<script" not in value


@pytest.mark.parametrize("kind", ["agents", "knowledge", "twins"])
@pytest.mark.parametrize("text", [SCRIPT, LINES])
async def test_hostile_names_come_back_as_json_only(rest: RestServer, key: str, kind: str, text: str) -> None:
    """In what is made, read, listed, searched for and changed; `Location` and `Link` have none of it, or encode it."""
    body = {"name": text, "metadata": {text: text}}
    made = await rest.call("POST", f"/v2/{kind}", key, body=body, headers=BROWSER)
    assert made.status == 201
    assert re.fullmatch(rf"/v2/{kind}/[0-9a-f-]{{36}}", made.headers["Location"])
    await rest.call("POST", f"/v2/{kind}", key, body=body)
    one = made.headers["Location"]
    for answer in (
        made,
        await rest.call("GET", one, key, headers=BROWSER),
        await rest.call("PATCH", one, key, body={"metadata": {"more": text}}, headers=BROWSER),
        await rest.call("GET", f"/v2/{kind}?q={quote(text[:8])}", key, headers=BROWSER),
    ):
        is_inert(answer)
        assert answer.status in (200, 201)
    listed = await rest.call("GET", f"/v2/{kind}?per_page=1&filter[name]={quote(text)}", key, headers=BROWSER)
    is_inert(listed)
    assert listed.json()["data"][0]["name"] == text
    (link,) = re.findall(r'<([^<>"\s]*)>; rel="next"', listed.headers["Link"])
    assert (await rest.call("GET", link, key)).json()["data"][0]["name"] == text


@pytest.mark.parametrize("text", [SCRIPT, LINES])
async def test_errors_that_quote_a_request_are_data(rest: RestServer, key: str, text: str) -> None:
    """Of a query, a path, a header, a body; also to a browser that asks for a page."""
    hostile = quote(text, safe="")
    for answer in (
        await rest.call("GET", f"/v2/agents?{hostile}=1", key, headers=BROWSER),
        await rest.call("GET", f"/v2/agents?sort={hostile}", key, headers=BROWSER),
        await rest.call("GET", f"/v2/agents?fields={hostile}", key, headers=BROWSER),
        await rest.call("GET", f"/v2/agents?filter[{hostile}]=1", key, headers=BROWSER),
        await rest.call("GET", f"/v2/agents/{hostile}", key, headers=BROWSER),
        await rest.call("GET", f"/{hostile}", key, headers=BROWSER),
        await rest.call("GET", f"/errors?{hostile}=1", headers=BROWSER),
        await rest.call("GET", f"/openapi.json?version={hostile}", headers=BROWSER),
        await rest.call("GET", "/agents", key, headers={**BROWSER, "API-Version": SCRIPT}),
        await rest.call("GET", "/v2/agents", key, headers={**BROWSER, "X-Request-Timeout": SCRIPT}),
        await rest.call("GET", "/v2/agents", SCRIPT.replace(" ", ""), headers=BROWSER),
        await rest.call("POST", "/v2/agents", key, body={text: 1, "name": [text]}, headers=BROWSER),
        await rest.call("POST", "/v2/agents", key, data=text.encode(), headers=BROWSER),
        await rest.call("POST", "/v2/keys", key, body={"name": "a", "scopes": [text]}, headers=BROWSER),
    ):
        assert 400 <= answer.status < 500, answer
        is_inert(answer)


async def test_page_of_errors_holds_the_catalogue_only(rest: RestServer) -> None:
    """Nothing of the request; the policy lets it load and run nothing."""
    page = await rest.call("GET", "/errors", headers={**BROWSER, "X-Request-Id": SCRIPT, "Referer": SCRIPT})
    assert page.status == 200
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none';")
    markup = Markup()
    markup.feed(page.body.decode())
    assert markup.tags <= {"html", "head", "meta", "title", "body", "h1", "table", "thead", "tbody", "tr", "th", "td"}
    assert markup.inline == []


@pytest.fixture
async def hub(engines: EngineUrls, database_url: str, redis_url: str, hubs: HubProcesses) -> HubProcess:
    """One node, with its pages."""
    return await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain client."""
    async with aiohttp.ClientSession() as session:
        yield session


async def test_pages_run_nothing_but_the_hubs_own_files(hub: HubProcess, client: aiohttp.ClientSession) -> None:
    """Neither inline nor from elsewhere, by their markup and by their policy; each file has the type that it says."""
    for path in ("/", "/docs"):
        async with client.get(hub.base_url + path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            markup = Markup()
            markup.feed(await answer.text())
        assert "unsafe" not in policy
        assert "http:" not in policy.replace("ws:", "")
        assert re.search(r"default-src '(none|self)'", policy)
        assert "base-uri 'none'; form-action 'none'" in policy
        assert markup.inline == []
        assert markup.addresses
        for address in markup.addresses:
            assert not urlsplit(address).netloc
            async with client.get(hub.base_url + address) as file:
                assert file.status == 200, address
                assert file.headers["X-Content-Type-Options"] == "nosniff"


def test_scripts_of_the_pages_give_no_text_to_the_parser() -> None:
    """Text goes in as text: there is no sink for it to come out of as markup."""
    own = [file for file in (*WEB.rglob("*.js"), *LIVE.rglob("*.js")) if "vendor" not in file.parts]
    assert own
    assert [file.name for file in own if SINKS.search(file.read_text())] == []
