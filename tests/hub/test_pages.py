"""The pages' files: under names that say what they hold, for ever; ready for a cache between."""

import asyncio
import gzip
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hub.main import LIVE, WEB
from hub.pages import PageDoor

IMMUTABLE = "public, max-age=31536000, immutable"
REFERENCE = re.compile(r'(?:src|href)="(/web/[^"]+)"|(?:from |import\()"\./([^"]+)"')


@asynccontextmanager
async def served(*folders: Path) -> AsyncGenerator[aiohttp.ClientSession]:
    """Serve the folders' pages, and give a client that unpacks nothing."""
    app = web.Application()
    PageDoor(*folders).add_to(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession(url, auto_decompress=False, skip_auto_headers=("Accept-Encoding",)) as client:
            yield client
    finally:
        await runner.cleanup()


async def _text(client: aiohttp.ClientSession, path: str) -> tuple[str, str]:
    async with client.get(path) as answer:
        assert answer.status == 200, path
        return await answer.text(), answer.headers["Cache-Control"]


async def test_everything_that_the_page_loads_is_immutable() -> None:
    """The page itself is asked for each time; all that it names, and all that these name, is kept for ever."""
    async with served(WEB, LIVE) as client:
        pages = [await _text(client, path) for path in ("/", "/docs")]
        assert [cache for _, cache in pages] == ["public, no-cache"] * 2
        seen: set[str] = set()
        left = [("/web/", page) for page, _ in pages]
        while left:
            folder, text = left.pop()
            for found in REFERENCE.finditer(text):
                path = found[1] or folder + found[2]
                if path not in seen:
                    seen.add(path)
                    text, kept = await _text(client, path)
                    assert kept == IMMUTABLE, path
                    assert re.search(r"\.[0-9a-f]{16}\.\w+$", path), path
                    left.append((path[: path.rindex("/") + 1], text))
        loaded = {re.sub(r"\.[0-9a-f]{16}", "", path.rpartition("/")[2]) for path in seen}
        files = (*WEB.rglob("*"), *LIVE.rglob("*"))
        assert loaded == {file.name for file in files if file.suffix in (".js", ".css", ".svg")}


async def test_page_is_kept_by_its_tag_and_packed() -> None:
    """A 304 has no body; a coding is another representation; both depend on Accept-Encoding."""
    async with served(WEB) as client:
        async with client.get("/") as plain:
            body = await plain.read()
        async with client.get("/", headers={"If-None-Match": plain.headers["ETag"]}) as again:
            assert (again.status, await again.read(), again.headers["Vary"]) == (304, b"", "Accept-Encoding")
        async with client.get("/", headers={"Accept-Encoding": "gzip"}) as packed:
            assert gzip.decompress(await packed.read()) == body
            assert packed.headers["ETag"] == f'{plain.headers["ETag"][:-1]}.gzip"'
            assert (packed.headers["Vary"], packed.headers["Content-Encoding"]) == ("Accept-Encoding", "gzip")
        async with client.head("/", headers={"Accept-Encoding": "gzip"}) as head:
            assert (await head.read(), head.headers["Content-Length"]) == (b"", packed.headers["Content-Length"])


def _site(folder: Path, module: str) -> Path:
    folder.mkdir()
    (folder / "index.html").write_text('<script src="/web/a.js"></script><img src="/web/none.svg">')
    (folder / "a.js").write_text('import { b } from "./b.js";\nconst told = "./c.js";\n')
    (folder / "b.js").write_text(module)
    return folder


async def test_name_changes_with_what_it_leads_to(tmp_path: Path) -> None:
    """A module's name changes with every module below it, so that no cache joins two releases."""

    async def name_in(folder: Path) -> str:
        async with served(folder) as client:
            page, _ = await _text(client, "/")
            assert '"/web/none.svg"' in page  # what is not there keeps its name
            return page.split('"')[1]

    first = await name_in(_site(tmp_path / "1", "export const b = 1;"))
    assert first == await name_in(_site(tmp_path / "2", "export const b = 1;"))
    assert first != await name_in(_site(tmp_path / "3", "export const b = 2;"))


async def test_file_of_another_release_is_served_and_kept_by_nobody(tmp_path: Path) -> None:
    """Nodes of two releases stand behind one address while a deploy lasts."""
    async with served(_site(tmp_path / "1", "export const b = 1;")) as client:
        text, cache = await _text(client, "/web/b.0123456789abcdef.js")
        assert (text, cache) == ("export const b = 1;", "no-store")
        assert (await _text(client, "/web/b.js"))[1] == "public, no-cache"
        for missing in ("/web/c.js", "/web/c.0123456789abcdef.js", "/web/../hub/main.py", "/web/%2e%2e/hub/main.py"):
            async with client.get(missing) as answer:
                assert answer.status == 404, missing


def test_ring_of_modules_has_no_names(tmp_path: Path) -> None:
    """It is a mistake that the release's tests meet, not its users."""
    with pytest.raises(ValueError, match=r"a.js -> b.js -> a.js"):
        PageDoor(_site(tmp_path / "1", 'import "./a.js";'))


async def test_many_at_once_get_the_same(tmp_path: Path) -> None:
    """While the first of them has it packed."""
    folder = _site(tmp_path / "1", "export const b = 1;\n" * 5000)
    async with served(folder) as client:

        async def packed() -> bytes:
            async with client.get("/web/b.js", headers={"Accept-Encoding": "gzip"}) as answer:
                return gzip.decompress(await answer.read())

        assert set(await asyncio.gather(*(packed() for _ in range(20)))) == {b"export const b = 1;\n" * 5000}
