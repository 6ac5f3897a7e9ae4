"""Knowledge: questions at a fixed pace to 100,000 chunks, beside PostgreSQL's own ranking of the same; pages read a second.

Chunks and pages are put together of the sentences of the project's own documentation, with one word each that no other has.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import aiohttp

from benchmarks.bench import Bench
from benchmarks.contenders import Scales
from benchmarks.deliverers import Engines, asking
from benchmarks.report import Column, Goal, Row, Table, percentile_ms, ratios
from benchmarks.server import CHECKOUT
from core.ids import new_id
from core.store.database import Connection, Database, connect_as
from handlers.knowledge.embedding.minilm.embedder import MiniLMEmbedder, folder_of_model
from handlers.knowledge.parsing.parsed import Chunk, Place
from handlers.knowledge.parsing.sentences import sentences_of
from handlers.knowledge.retrieval.analysis import analysed
from handlers.knowledge.retrieval.folding import fold
from handlers.knowledge.retrieval.index import Index

QUESTIONS = CHECKOUT / "benchmarks" / "retrieval" / "questions.json"
SEED = 20261129
CHUNKS_A_DOCUMENT = 40
SENTENCES_A_CHUNK = 8
FOUND = 5
# So that questions which are slower than the pace do not wait for one connection.
SQL_CONNECTIONS = 8
P50_MS, P99_MS, PAGES = 15.0, 100.0, 100.0
LOOK_SECONDS = 0.05
ASKED_COLUMNS = (
    Column("alone", "one at a time, p50 ms", digits=1),
    Column("p50", "p50 ms", digits=1),
    Column("p99", "p99 ms", digits=1),
    Column("cost", "server CPU, ms a question", digits=2, spread=False),
    Column("broker_cost", "database CPU, ms a question", digits=2, spread=False),
    Column("ratio", "one at a time, over the hub's", digits=2, unit=" x"),
)
READ_COLUMNS = (
    Column("speed", "pages/s"),
    Column("cost", "server and parsers CPU, ms a page", digits=1, spread=False),
    Column("broker_cost", "database CPU, ms a page", digits=1, spread=False),
)
_DOCUMENT = """
INSERT INTO documents (org_id, id, knowledge_id, name, version, status, content_type, hash, bytes, created_at, updated_at)
VALUES (current_org(), $1, $2, $3, 1, 'ready', 'text/plain', '', 0, now(), now())
"""
_RANKED = """
CREATE UNLOGGED TABLE hub.ranked AS
SELECT id, to_tsvector('english', text) AS terms FROM hub.chunks WHERE knowledge_id = '{}';
CREATE INDEX ON hub.ranked USING gin (terms);
ANALYZE hub.ranked
"""
_BY_TS_RANK = """
SELECT id FROM hub.ranked, (SELECT replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery AS query) AS asked
WHERE terms @@ query ORDER BY ts_rank(terms, query) DESC LIMIT $2
"""

Ask = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    chunks: int
    per_second: float
    seconds: float
    pages: int
    files: int
    alone: int


WHOLE = Sizes(rounds=3, chunks=100_000, per_second=20.0, seconds=20.0, pages=600, files=50, alone=100)
QUICK = Sizes(rounds=1, chunks=120, per_second=20.0, seconds=0.5, pages=6, files=3, alone=3)


async def measure(bench: Bench) -> list[Table]:
    """Measure both."""
    sizes, engines = QUICK if bench.quick else WHOLE, await Engines.of(bench.hub)
    rounds = bench.rounds or sizes.rounds
    asked = await _asked(bench, sizes, rounds, engines)
    with _on_two_cores(bench):
        return [asked, await _read(bench, sizes, rounds, engines)]


async def _asked(bench: Bench, sizes: Sizes, rounds: int, engines: Engines) -> Table:
    organisation = await bench.hub.organisation("asked")
    rng = random.Random(SEED)
    questions = [each["question"] for each in json.loads(QUESTIONS.read_text())]
    hub, ranked = Row("**the hub**, by REST", {}), Row("PostgreSQL's `ts_rank`, any word, by SQL", {})
    async with asking(bench.hub, organisation) as session:
        base = await _new_base(session)
        await _fill(bench.hub.database_url, organisation.id, UUID(base), sizes.chunks, rng)
        owners = [await connect_as(bench.hub.database_url, "hub_owner") for _ in range(SQL_CONNECTIONS)]
        owner = owners[0]
        try:
            await owner.execute(_RANKED.format(base))
            await owner.execute("VACUUM ANALYZE hub.chunks")
            await owner.execute("VACUUM ANALYZE hub.chunk_terms")
            for _ in range(rounds):
                for row, ask in ((hub, _by_hub(session, base)), (ranked, _by_sql(owners))):
                    scales = Scales(bench.hub.server, engines.all())
                    row.add({"alone": await _alone(ask, questions[: sizes.alone])})
                    row.add(await _paced(ask, questions, sizes, rng, scales))
                    await bench.hub.server.idle()
        finally:
            for each in owners:
                await each.close()
    embedded = await _embedded(questions, rounds, sizes.alone)
    ranked.figures["ratio"] = ratios(ranked.figures["alone"], hub.figures["alone"])
    says = (
        f"**Questions to {sizes.chunks:,} chunks**, {sizes.per_second:.0f} a second, {FOUND} results each, by words, "
        f"{rounds} rounds:"
    )
    goals = [
        Goal.at_most("15 ms, p50 of a question", hub.figures["p50"], P50_MS, digits=1, unit=" ms"),
        Goal.at_most("100 ms, p99 of a question", hub.figures["p99"], P99_MS, digits=1, unit=" ms"),
    ]
    rows = [hub, ranked] if embedded is None else [hub, ranked, embedded]
    notes = [] if embedded else ["Without the `semantic` extra (`make semantic`) no question's vector was timed."]
    return Table("asked", says, "asked", ASKED_COLUMNS, rows, goals, notes)


async def _read(bench: Bench, sizes: Sizes, rounds: int, engines: Engines) -> Table:
    organisation = await bench.hub.organisation("read")
    rng = random.Random(SEED)
    row = Row(f"**the hub**, {sizes.files} files a request", {})
    sentences = _sentences()
    pages = [_page(number, sentences, rng) for number in range(sizes.pages)]
    async with asking(bench.hub, organisation) as session:
        for _ in range(rounds):
            base = await _new_base(session)
            scales = Scales(bench.hub.server, engines.all())
            scales.start()
            begin = time.monotonic()
            for first in range(0, len(pages), sizes.files):
                await _upload(session, base, first, pages[first : first + sizes.files])
            await _until_read(session, base)
            seconds = time.monotonic() - begin
            server, brokers = scales.read()
            await _check_read(session, base, len(pages))
            count = len(pages)
            row.add({"speed": count / seconds, "cost": server / count * 1e3, "broker_cost": brokers / count * 1e3})
            await bench.hub.server.idle()
    kib = sum(map(len, pages)) / len(pages) / 1024
    says = (
        f"**Markdown pages**, {sizes.pages} of {kib:.0f} KiB, from the first upload until all are found, node and parsers on two "
        f"cores, {rounds} rounds:"
    )
    goals = [Goal.at_least("100 pages/s read", row.figures["speed"], PAGES, digits=0)]
    return Table("read", says, "pages", READ_COLUMNS, [row], goals)


@contextmanager
def _on_two_cores(bench: Bench) -> Generator[None]:
    """Give the node one core more: its parsers, which are started when they are needed, inherit what it has."""
    cores, pid = bench.cores, bench.hub.server.pid
    if cores is None:
        yield
        return
    os.sched_setaffinity(pid, {*cores.server, min(cores.rest)})
    try:
        yield
    finally:
        os.sched_setaffinity(pid, cores.server)


def _sentences() -> list[str]:
    pages = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
    found = (each for page in pages for each in sentences_of(page.read_text()))
    return [each for each in found if 40 < len(each) < 300 and "|" not in each]


def _chunk(number: int, sentences: Sequence[str], rng: random.Random) -> Chunk:
    text = f"{' '.join(rng.sample(sentences, SENTENCES_A_CHUNK))} word{number:x}"
    headings = (f"Page {number // CHUNKS_A_DOCUMENT}", " ".join(rng.choice(sentences).split()[:4]))
    return Chunk("text", text, Place(headings=headings), analysed(text, headings, "english"))


def _page(number: int, sentences: Sequence[str], rng: random.Random) -> bytes:
    parts = [f"# Page {number:x}\n"]
    for part in range(5):
        parts.append(f"## Part {part} of {rng.choice(sentences).split()[0]}\n")
        parts += [" ".join(rng.sample(sentences, 4)) + "\n" for _ in range(3)]
        parts.append("    make run\n    make test\n")
    return "\n".join(parts).encode()


async def _new_base(session: aiohttp.ClientSession) -> str:
    async with session.post("/v2/knowledge", json={"name": "Bench"}) as answer:
        return (await answer.json())["id"]


async def _fill(url: str, org_id: UUID, base: UUID, chunks: int, rng: random.Random) -> None:
    """Put chunks where ingestion would put them, without parsing anything."""
    sentences, index, database = _sentences(), Index(), Database(url, role="hub_app", size=2)
    try:
        for first in range(0, chunks, CHUNKS_A_DOCUMENT):
            some = [_chunk(number, sentences, rng) for number in range(first, min(first + CHUNKS_A_DOCUMENT, chunks))]
            id = new_id()
            async with database.transaction(org_id) as db:
                await db.execute(_DOCUMENT, id, base, f"{first}.txt")
                await index.put(db, org_id, base, id, "english", some)
        await fold(database)
    finally:
        await database.close()


def _by_hub(session: aiohttp.ClientSession, base: str) -> Ask:
    async def ask(question: str) -> None:
        body = {"question": question, "max_results": FOUND}
        async with session.post(f"/v2/knowledge/{base}/query", json=body) as answer:
            await answer.read()

    return ask


def _by_sql(connections: Sequence[Connection]) -> Ask:
    free = asyncio.Queue[Connection]()
    for each in connections:
        free.put_nowait(each)

    async def ask(question: str) -> None:
        connection = await free.get()
        try:
            await connection.fetch(_BY_TS_RANK, question, FOUND)
        finally:
            free.put_nowait(connection)

    return ask


async def _alone(ask: Callable[[str], Awaitable[object]], questions: Sequence[str]) -> float:
    """Ask one after the other; return the median in ms: unlike at a pace, none waits for another."""
    waits: list[int] = []
    for question in questions:
        begin = time.monotonic_ns()
        await ask(question)
        waits.append(time.monotonic_ns() - begin)
    return percentile_ms(waits, 50)


async def _paced(
    ask: Ask, questions: Sequence[str], sizes: Sizes, rng: random.Random, scales: Scales
) -> dict[str, float]:
    """Ask when each question is due, whatever the answers; a wait is from when it was due."""
    for question in questions[:3]:
        await ask(question)
    waits: list[int] = []

    async def one(due: int, question: str) -> None:
        await ask(question)
        waits.append(time.monotonic_ns() - due)

    scales.start()
    begin = time.monotonic_ns()
    async with asyncio.TaskGroup() as group:
        for number, question in enumerate(_drawn(questions, round(sizes.seconds * sizes.per_second), rng)):
            due = begin + round(number * 1e9 / sizes.per_second)
            await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            group.create_task(one(due, question))
    server, brokers = scales.read()
    count = len(waits)
    return {
        "p50": percentile_ms(waits, 50),
        "p99": percentile_ms(waits, 99),
        "cost": server / count * 1e3,
        "broker_cost": brokers / count * 1e3,
    }


def _drawn(questions: Sequence[str], count: int, rng: random.Random) -> Iterator[str]:
    return (rng.choice(questions) for _ in range(count))


async def _upload(session: aiohttp.ClientSession, base: str, first: int, pages: Sequence[bytes]) -> None:
    form = aiohttp.FormData()
    for number, page in enumerate(pages, first):
        form.add_field("file", page, filename=f"{number}.md", content_type="text/markdown")
    async with session.post(f"/v2/knowledge/{base}/documents", data=form) as answer:
        await answer.read()


async def _until_read(session: aiohttp.ClientSession, base: str) -> None:
    while True:
        async with session.get(f"/v2/knowledge/{base}/documents?status=pending&per_page=1") as answer:
            if not (await answer.json())["pagination"]["total"]:
                return
        await asyncio.sleep(LOOK_SECONDS)


async def _check_read(session: aiohttp.ClientSession, base: str, pages: int) -> None:
    """Raise AssertionError where not every page is ready: one that failed was not read."""
    async with session.get(f"/v2/knowledge/{base}/documents?status=ready&per_page=1") as answer:
        ready = (await answer.json())["pagination"]["total"]
    if ready != pages:
        raise AssertionError(f"{ready} of {pages} pages are ready")


async def _embedded(questions: Sequence[str], rounds: int, count: int) -> Row | None:
    """Time the making of questions' vectors, one after the other; None without the `semantic` extra."""
    folder = folder_of_model()
    if folder is None:
        return None
    row, embedder = Row("a question's vector alone, by the `semantic` extra", {}), MiniLMEmbedder(folder)
    try:
        await embedder.embed_question(questions[0])
        for _ in range(rounds):
            row.add({"alone": await _alone(embedder.embed_question, questions[:count])})
    finally:
        await embedder.close()
    return row
