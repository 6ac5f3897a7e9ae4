"""Documents by URL: under the rules of every call out, asked again with what the server gave before."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.handlers.knowledge.documents.shelf import Shelf
from tests.handlers.knowledge.documents.shelf import shelf as opened
from tests.harness.organisations import Organisation
from tests.harness.outside import serving

GUIDE = "# Guide\n\nThe sprocket turns left."


@dataclass
class Site:
    """A server with a guide at `/guide.md`, and ways to it."""

    port: int = 0
    text: str = GUIDE
    asked: list[web.Request] = field(default_factory=list[web.Request])
    gate: asyncio.Event | None = None  # what /slow.md waits for

    def url(self, path: str = "/guide.md") -> str:
        return f"http://localhost:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        match request.path:
            case "/guide.md":
                tag = f'"{len(self.text)}"'
                if request.headers.get("If-None-Match") == tag:
                    return web.Response(status=304)
                return web.Response(text=self.text, content_type="text/markdown", headers={"ETag": tag})
            case "/slow.md":
                assert self.gate is not None
                await self.gate.wait()
                return web.Response(text="The slow one.", content_type="text/markdown")
            case "/away":
                raise web.HTTPFound("/guide.md")
            case "/inside":
                raise web.HTTPFound("http://far.example/guide.md")
            case "/round":
                raise web.HTTPFound("/round")
            case _:
                raise web.HTTPNotFound


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with serving(made.answer) as port:
        made.port = port
        yield made


async def test_url_is_fetched(shelf: Shelf, site: Site):
    """Named by itself, with the type that its server tells; redirects are followed."""
    base = await shelf.base()
    async with shelf.working():
        (made,) = await shelf.put(base, url=site.url(), wait=20)
        (led,) = await shelf.put(base, url=site.url("/away"), name="led.md", wait=20)
    assert (made["name"], made["url"]) == (f"localhost:{site.port}/guide.md", site.url())
    assert (made["status"], made["version"], made["title"]) == ("ready", 1, "Guide")
    assert made["content_type"] == "text/markdown; charset=utf-8"
    assert (led["status"], led["hash"]) == ("ready", made["hash"])
    assert await shelf.content(base, made["id"]) == GUIDE.encode()


async def test_refresh_asks_whether_it_has_changed(shelf: Shelf, site: Site):
    """The same is read no second time; another content is a version."""
    base = await shelf.base()
    async with shelf.working():
        (made,) = await shelf.put(base, url=site.url(), wait=20)
        await shelf.run("documents.refresh", id=base, document=made["id"])
        await shelf.settled()
        same = await shelf.get(base, made["id"])
        assert site.asked[-1].headers["If-None-Match"] == f'"{len(GUIDE)}"'
        assert (same["status"], same["version"], len(shelf.reader.names)) == ("ready", 1, 1)
        site.text = "# Guide\n\nThe sprocket turns right, they say."
        await shelf.run("documents.refresh", id=base, document=made["id"])
        await shelf.settled()
    other = await shelf.get(base, made["id"])
    assert (other["status"], other["version"]) == ("ready", 2)
    assert await shelf.found("sprocket", base) == ["The sprocket turns right, they say."]


async def test_what_cannot_be_fetched_has_failed(shelf: Shelf, site: Site):
    """With the reason; a redirect is judged as the URL itself."""
    base = await shelf.base()
    async with shelf.working():
        for path, told in (("/none", "404"), ("/round", "redirects"), ("/inside", "far.example")):
            (made,) = await shelf.put(base, url=site.url(path), name=path, wait=20)
            assert (made["status"], made["error"]["code"]) == ("failed", "NOT_FETCHED")
            assert told in made["error"]["message"]


async def test_what_was_fetched_is_found_while_its_server_fails(shelf: Shelf, site: Site):
    base = await shelf.base()
    async with shelf.working():
        (made,) = await shelf.put(base, url=site.url(), name="guide.md", wait=20)
        await shelf.put(base, url=site.url("/none"), name="guide.md", wait=20)
    assert (await shelf.get(base, made["id"]))["status"] == "failed"
    assert await shelf.found("sprocket", base) == ["The sprocket turns left."]


async def test_what_is_fetched_after_an_upload_that_failed_is_a_version_of_its_own(shelf: Shelf, site: Site):
    """What was kept of the upload is not given back as the content that was fetched."""
    base = await shelf.base()
    async with shelf.working():
        (made,) = await shelf.put(base, {"name": "guide.md", "content": "", "content_type": "text/markdown"}, wait=20)
        assert made["status"] == "failed"
        (made,) = await shelf.put(base, url=site.url(), name="guide.md", wait=20)
    assert (made["status"], made["version"], made["bytes"]) == ("ready", 2, len(GUIDE))
    assert await shelf.content(base, made["id"]) == GUIDE.encode()
    assert await shelf.content(base, made["id"], version=1) == b""


async def test_other_url_while_one_is_fetched_is_fetched_too(shelf: Shelf, site: Site):
    """What the first gave is not taken for the second's."""
    site.gate = asyncio.Event()
    base = await shelf.base()
    async with shelf.working():
        (made,) = await shelf.put(base, url=site.url("/slow.md"), name="guide.md")
        await shelf.eventually(lambda: _is(bool(site.asked)))
        await shelf.put(base, url=site.url(), name="guide.md")
        site.gate.set()
        await shelf.settled()
    shown = await shelf.get(base, made["id"])
    assert (shown["status"], shown["url"]) == ("ready", site.url())
    assert await shelf.content(base, made["id"]) == GUIDE.encode()
    assert await shelf.found("sprocket", base) == ["The sprocket turns left."]
    assert not await shelf.found("slow", base)


async def test_no_room_for_what_is_fetched(database_url: str, organisation: Organisation, site: Site):
    """It counts as uploads do, though its size is known only then."""
    async with opened(database_url, organisation.caller(), most_bytes=2 * len(GUIDE) - 1) as shelf, shelf.working():
        base = await shelf.base()
        (first,) = await shelf.put(base, url=site.url(), name="a.md", wait=20)
        (second,) = await shelf.put(base, url=site.url("/away"), name="b.md", wait=20)
    assert (first["status"], second["status"], second["error"]["code"]) == ("ready", "failed", "NOT_FETCHED")
    assert len(await shelf.rows("SELECT FROM document_versions")) == 1


async def test_sources_that_are_urls_are_fetched(shelf: Shelf, site: Site):
    """When the base is made, and those that are new when its sources change; file globs are for clients."""
    async with shelf.working():
        base = await shelf.base(sources=[site.url(), "docs/**/*.md"])
        await shelf.settled()
        assert await shelf.found("sprocket", base)
        asked = len(site.asked)
        await shelf.run("knowledge.update", id=base, body={"sources": [site.url(), site.url("/away"), "docs/**/*.md"]})
        await shelf.settled()
    assert [each.path for each in site.asked[asked:]] == ["/away", "/guide.md"]
    rows = await shelf.rows("SELECT name FROM documents ORDER BY name")
    assert [row["name"] for row in rows] == [f"localhost:{site.port}/away", f"localhost:{site.port}/guide.md"]


async def _is(holds: bool) -> bool:
    return holds


async def test_urls_that_a_json_patch_puts_among_the_sources_are_fetched(shelf: Shelf, site: Site):
    """Those that it writes, and those that it moves there from elsewhere."""
    async with shelf.working():
        base = await shelf.base(metadata={"url": site.url()})
        moved = {"op": "move", "from": "/metadata/url", "path": "/sources/-"}
        added = {"op": "add", "path": "/sources/-", "value": site.url("/away")}
        await shelf.run("knowledge.update", id=base, patch=[moved, added])
        await shelf.settled()
    rows = await shelf.rows("SELECT name FROM documents ORDER BY name")
    assert [row["name"] for row in rows] == [f"localhost:{site.port}/away", f"localhost:{site.port}/guide.md"]
