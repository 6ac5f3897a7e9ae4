"""`python -m benchmarks.retrieval [--quick] [--only SET]... [--worst N]`, which is `make eval`: measure, print, write.

README.md and docs/knowledge.md are written by a whole run only, one with both sets and with vectors.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from uuid import UUID

import numpy as np

from benchmarks import machine
from benchmarks.report import write_into
from benchmarks.retrieval.baselines import bm25
from benchmarks.retrieval.library import PLAIN_TABLE, VECTORS, Base, Library, opened, put_plain
from benchmarks.retrieval.packages import Unavailable
from benchmarks.retrieval.sets import EvaluationSet, own_docs, whole_pages
from benchmarks.retrieval.tables import Judged, markdown
from benchmarks.retrieval.technical import technical
from benchmarks.retrieval.vectors import KeptVectors
from benchmarks.server import CHECKOUT, clean_environment
from core.store.database import Database
from core.store.engines import start_engines
from handlers.knowledge.evaluation.measures import Measures, measured

BEGIN, END = "<!-- eval -->", "<!-- /eval -->"
Finder = Callable[[str], Awaitable[list[int]]]


async def evaluate(of: Sequence[EvaluationSet], folder: Path, worst: int) -> list[Judged]:
    """Put each set into a fresh hub's database, and ask everybody."""
    data = folder / "data"
    engines = await start_engines(data)
    try:
        url = engines.urls.database_url
        await _hub(data, "migrate")
        org = UUID(
            json.loads((await _hub(data, "keys", "create", "--org", "eval", "--json")).splitlines()[-1])["org_id"]
        )
        owner = Database(url, role="hub_owner")
        async with owner.unbound() as db:
            for statement in filter(str.strip, PLAIN_TABLE.split(";")):
                await db.execute(statement)
        await owner.close()
        async with opened(url, org) as (database, library):
            return [judged for each in of for judged in await _judged(each, database, org, library, worst)]
    finally:
        engines.close()


async def _judged(of: EvaluationSet, database: Database, org: UUID, library: Library, worst: int) -> list[Judged]:
    _say(f"{of.key}: {len(of.documents)} documents ...")
    base = await library.put(of)
    await put_plain(database, org, base)
    _say(f"{len(base.chunks)} chunks; not read: {', '.join(base.refused) or 'none'}")
    found: dict[str, list[list[int]]] = {}
    for name, finder in (await _finders(base, library)).items():
        found[name] = [await finder(each.question) for each in of.questions]
        _say(f"  {name}")
    sets = [of, whole_pages(of)] if of.key == "questions" else [of]
    made = [_measured(each, base, found) for each in sets]
    for judged in made:
        _tell_worst(judged, base, found, worst)
    return made


async def _finders(base: Base, library: Library) -> dict[str, Finder]:
    lucene = bm25(base)

    async def by_bm25(question: str) -> list[int]:
        return lucene(question)

    finders: dict[str, Finder] = {
        "words": lambda question: library.words(base, question),
        "bm25s": by_bm25,
        "ts_rank": lambda question: library.ts_rank(base, question, "ts_rank"),
        "ts_rank_cd": lambda question: library.ts_rank(base, question, "ts_rank_cd"),
    }
    if library.has_vectors:
        kept = KeptVectors(VECTORS)
        await library.embed(base, kept)
        finders["both"] = lambda question: library.both(base, question)
        finders["vectors"] = await _by_vectors(base, library, kept)
    return finders


async def _by_vectors(base: Base, library: Library, kept: KeptVectors) -> Finder:
    rows = await library.rows(base, kept)
    ids = np.array([chunk.id for chunk in base.chunks])

    async def nearest(question: str) -> list[int]:
        near = rows @ np.array(await library.question(question, kept), np.float32)
        return ids[np.argsort(-near, kind="stable")[:100]].tolist()

    return nearest


def _measured(of: EvaluationSet, base: Base, found: dict[str, list[list[int]]]) -> Judged:
    judged: dict[str, list[Measures]] = {}
    for name, lists in found.items():
        judged[name] = [
            measured(base.units(chunks, of), asked.relevant) for asked, chunks in zip(of.questions, lists, strict=True)
        ]
    return Judged(of.key, of.says, len(base.chunks), judged)


def _tell_worst(judged: Judged, base: Base, found: dict[str, list[list[int]]], worst: int) -> None:
    of = base.of if judged.key == base.of.key else whole_pages(base.of)
    name = "both" if "both" in found else "words"
    order = sorted(range(len(of.questions)), key=lambda at: judged.by[name][at].ndcg)
    for at in order[:worst]:
        others = ", ".join(f"{each} {judged.by[each][at].ndcg:.2f}" for each in judged.by)
        print(f"- [{judged.key}] {of.questions[at].question} | wanted {sorted(of.questions[at].relevant)[:3]}")
        for each in ("words", "bm25s", "both"):
            if each in found:
                print(f"    {each}: {base.units(found[each][at], of)[:4]}")
        print(f"    nDCG: {others}")


async def _hub(data: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "hub", *arguments),
        cwd=CHECKOUT,
        env={**clean_environment(), "HUB_DATA": str(data)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"hub {' '.join(arguments)} failed:\n{errors.decode()}")
    return said.decode()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval")
    parser.add_argument("--quick", action="store_true", help="fewer technical questions; nothing is written")
    parser.add_argument("--only", choices=("technical", "questions"), action="append", help="one of the sets")
    parser.add_argument("--worst", type=int, default=0, help="print so many questions of each set that went worst")
    parser.add_argument("--without-vectors", action="store_true", help="do not use the model, though it is installed")
    arguments = parser.parse_args()
    if arguments.without_vectors:
        os.environ["HUB_EMBEDDING"] = "off"
    sets = [own_docs()] if not arguments.only or "questions" in arguments.only else []
    if not arguments.only or "technical" in arguments.only:
        try:
            sets.append(technical(arguments.quick))
        except Unavailable as error:
            _say(f"THE TECHNICAL SET IS MISSING: {error}")
    # Short, for the sockets below it.
    with tempfile.TemporaryDirectory(prefix="hub-eval-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the engines' account must get through
        judged = asyncio.run(evaluate(sets, folder, arguments.worst))
    text = f"{machine.describe(None)}.\n\n{markdown(judged)}"
    print(text)
    if len(sets) == 2 and not arguments.quick and all("both" in each.by for each in judged):
        for page in ("README.md", "docs/knowledge.md"):
            write_into(text, CHECKOUT / page, begin=BEGIN, end=END)


if __name__ == "__main__":
    main()
