"""Memory of the hub and its parsers while SOAK_TEXT_MIB (1,024) of text go in, in rounds; what a round brought is deleted.

`make soak ARGS="-k much_knowledge"`. A base a round, so that the disk holds little more than one. The figures are printed, also of
a run that failed.
"""

import asyncio
import os
import random
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import CHECKOUT, HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import cancelled, eventually, let_pass

ROUND_MIB = 32
LEAST_ROUNDS = 4
DOCUMENT_BYTES = 256 << 10
# The client of tests sends no body of more than 1 MiB.
AT_ONCE = 3
LOOK_SECONDS = 0.1
ROUND_SECONDS = 1_800.0
# The later half of the rounds may have this much more than the half before, at its highest. Of a gigabyte, a node of some
# 160 MiB that kept a twentieth of the text would be found.
GROWN_SHARE, GROWN_BYTES = 1.05, 8 << 20
PARAGRAPHS, WORDS_A_PARAGRAPH = 2_000, 80


@dataclass
class Peaks:
    """The most that was resident at a look: of the node, and of the largest process that it has started."""

    node: int = 0
    parser: int = 0
    parsers: set[int] = field(default_factory=set[int])

    def look(self, node: psutil.Process) -> None:
        """Take one look."""
        self.node = max(self.node, node.memory_info().rss)
        for child in node.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                self.parser = max(self.parser, child.memory_info().rss)
                self.parsers.add(child.pid)


@pytest.mark.deadline(0)
async def test_memory_is_flat_while_a_gigabyte_goes_in(
    organisation: Organisation,
    engines: EngineUrls,
    database_url: str,
    hubs: HubProcesses,
    capsys: pytest.CaptureFixture[str],
):
    """Every document is read and found, and neither the node nor a parser grows with what went through it."""
    mib = int(os.environ.get("SOAK_TEXT_MIB") or 1_024)
    rounds = max(LEAST_ROUNDS, mib // ROUND_MIB)
    documents = max(1, (mib << 20) // rounds // DOCUMENT_BYTES)
    urls = EngineUrls(database_url, engines.superuser_url, engines.redis_url)
    node = await hubs.start(urls=urls, environment={"HUB_EMBEDDING": "off", "HUB_LOG": "warning"})
    texts, seen = Texts(random.Random(mib)), list[Peaks]()
    async with RestClient(node.base_url, await organisation.key(), timeout=120.0) as rest:
        for number in range(rounds):
            async with watched(node) as peaks:
                await bring(rest, organisation, texts, number, documents)
            seen.append(peaks)
            show(number, texts.made, peaks, capsys)
    half = rounds // 2
    check("node", [each.node for each in seen], half)
    check("parser", [each.parser for each in seen], half)
    assert all(each.parsers for each in seen)


class Texts:
    """Pages of the words of the project's own documentation; each has a word that no other has. `made` counts bytes."""

    def __init__(self, rng: random.Random) -> None:
        pages = (page.read_text() for page in sorted((CHECKOUT / "docs").glob("*.md")))
        words = [word for page in pages for word in re.findall(r"[A-Za-z]{2,}", page)]
        self._rng = rng
        self._paragraphs = [" ".join(rng.choices(words, k=WORDS_A_PARAGRAPH)) for _ in range(PARAGRAPHS)]
        self.made = 0

    def page(self, own: str) -> str:
        """Return a page of Markdown that has the word `own`."""
        parts, size = [f"# Page {own}\n\nIts own word is {own}."], 0
        while size < DOCUMENT_BYTES:
            paragraph = self._rng.choice(self._paragraphs)
            parts.append(f"## {paragraph[:30]}\n\n{paragraph}." if len(parts) % 8 == 0 else f"{paragraph}.")
            size += len(parts[-1]) + 2
        text = "\n\n".join(parts)
        self.made += len(text.encode())
        return text


async def bring(rest: RestClient, organisation: Organisation, texts: Texts, number: int, documents: int) -> None:
    """Upload a round's documents, see that all are read and that the last is found, and delete them."""
    made = await answered(rest, "POST", "/v2/knowledge", {"name": f"Round {number}"})
    path = f"/v2/knowledge/{made['id']}"
    for first in range(0, documents, AT_ONCE):
        names = [own_word(number, each) for each in range(first, min(first + AT_ONCE, documents))]
        body = [{"name": f"{name}.md", "content": texts.page(name)} for name in names]
        await answered(rest, "POST", f"{path}/documents", {"documents": body})

    async def is_read() -> bool:
        return not await organisation.rows("SELECT FROM documents WHERE status = 'pending' LIMIT 1")

    await eventually(is_read, within=ROUND_SECONDS, every=LOOK_SECONDS, what="all documents are read")
    rows = await organisation.rows("SELECT name, error::text FROM documents WHERE status <> 'ready'")
    assert [dict(row) for row in rows] == []
    last = own_word(number, documents - 1)
    found = await answered(rest, "POST", f"{path}/query", {"question": last})
    assert found["results"][0]["name"] == f"{last}.md"
    await answered(rest, "DELETE", path, None)

    async def is_gone() -> bool:
        return not await organisation.rows("SELECT FROM chunks LIMIT 1") and not await organisation.rows(
            "SELECT FROM documents LIMIT 1"
        )

    await eventually(is_gone, within=ROUND_SECONDS, every=LOOK_SECONDS, what="what was deleted is gone")


async def answered(rest: RestClient, method: str, path: str, body: Any) -> Any:
    """Return the body of a success."""
    answer = await rest.call(method, path, body)
    assert 200 <= answer.status < 300, f"{method} {path}: {answer.status} {answer.text[:500]}"
    return answer.body


def own_word(number: int, document: int) -> str:
    """Return a word that is in no documentation, for a document of a round."""
    return f"zq{number}x{document}qz"


@asynccontextmanager
async def watched(node: HubProcess) -> AsyncGenerator[Peaks]:
    """Look at the memory again and again."""
    peaks, process = Peaks(), psutil.Process(node.pid)

    async def look_on() -> None:
        while True:
            peaks.look(process)
            await let_pass(LOOK_SECONDS)

    task = asyncio.create_task(look_on())
    try:
        yield peaks
    finally:
        await cancelled(task)


def check(of: str, peaks: list[int], half: int) -> None:
    """Compare the later half with the half before."""
    before, after = max(peaks[:half]), max(peaks[half:])
    allowed = before * GROWN_SHARE + GROWN_BYTES
    assert after <= allowed, f"{of}: {before >> 20} MiB at most in the first half, {after >> 20} MiB in the second"


def show(number: int, made: int, peaks: Peaks, capsys: pytest.CaptureFixture[str]) -> None:
    """Print a round's figures to the terminal."""
    with capsys.disabled():
        print(
            f"\nround {number}: {made >> 20} MiB so far; node {peaks.node >> 20} MiB, "
            f"largest of {len(peaks.parsers)} parsers {peaks.parser >> 20} MiB",
            end="",
            flush=True,
        )
