"""Documents that wait are read, however they come: while others are read, while a job ends, again, or never more."""

import asyncio
import contextlib
import random
from typing import Any
from uuid import UUID

import orjson

from core.clock import SystemClock
from core.errors import HubError
from core.jobs.jobs import Jobs
from handlers.knowledge.documents.queueing import INGEST
from tests.handlers.knowledge.documents.shelf import Shelf
from tests.harness.waiting import eventually, let_pass

LATE = """
INSERT INTO documents (org_id, id, knowledge_id, name, version, status, content_type, hash, bytes, created_at, updated_at)
VALUES (current_org(), gen_random_uuid(), $1, 'late.md', 1, 'pending', 'text/plain', '', 0, now(), now())
"""
CHUNKS = "SELECT document_id, ordinal, text FROM chunks WHERE document_id IS NOT NULL"


def note(number: int, version: int = 1) -> dict[str, Any]:
    return {"name": f"notes/{number}.md", "content": f"Note {number} says sprocket{version}."}


async def events(shelf: Shelf, type: str) -> list[dict[str, Any]]:
    rows = await shelf.rows("SELECT envelope FROM outbox WHERE type = $1 ORDER BY seq", type)
    return [orjson.loads(row["envelope"])["data"] for row in rows]


async def all_ready(shelf: Shelf) -> bool:
    return not await shelf.rows("SELECT FROM documents WHERE status <> 'ready'")


async def test_run_is_told(shelf: Shelf):
    """At its end by one event, with what failed and why; and the base is another version, as of then too."""
    base = await shelf.base()
    await shelf.put(base, note(1), note(2), {"name": "a.pdf", "content": "no PDF", "content_type": "application/pdf"})
    async with shelf.working():
        await shelf.settled()
    # On a slow machine there may be one of the time between.
    *_, told = await events(shelf, "knowledge.ingestion.progress")
    assert (told["knowledge_id"], told["pending"], told["ready"], told["failed"]) == (base, 0, 2, 1)
    assert [each["name"] for each in told["errors"]] == ["a.pdf"]
    (updated,) = await events(shelf, "knowledge.updated")
    assert updated["version"] == 2
    made = orjson.loads((await shelf.run("knowledge.get", id=base)).body)
    assert made == updated
    versions = await shelf.rows("SELECT version, to_event FROM knowledge_history ORDER BY version")
    assert [(row["version"], row["to_event"] is None) for row in versions] == [(1, False), (2, True)]
    (job,) = await shelf.rows("SELECT status, result FROM jobs")
    assert (job["status"], orjson.loads(job["result"])["ready"]) == ("completed", 2)


async def test_what_is_replaced_while_it_is_read_is_not_written(shelf: Shelf):
    """Only the last content is found, each of its chunks once."""
    base = await shelf.base()
    gate = shelf.reader.gate = asyncio.Event()
    async with shelf.working():
        (made,) = await shelf.put(base, note(1))
        await shelf.eventually(lambda: _is(len(shelf.reader.names) == 1))
        await shelf.put(base, note(1, version=2))
        gate.set()
        await shelf.settled()
    assert [row["text"] for row in await shelf.rows(CHUNKS)] == ["Note 1 says sprocket2."]
    shown = await shelf.get(base, made["id"])
    assert (shown["status"], shown["version"]) == ("ready", 2)


async def test_what_is_deleted_while_it_is_read_is_not_written(shelf: Shelf):
    """A document, and a base."""
    base, gone = await shelf.base(), await shelf.base()
    gate = shelf.reader.gate = asyncio.Event()
    async with shelf.working():
        (made,) = await shelf.put(base, note(1))
        await shelf.put(gone, note(2))
        await shelf.eventually(lambda: _is(len(shelf.reader.names) == 2))
        await shelf.run("documents.delete", id=base, document=made["id"])
        await shelf.run("knowledge.delete", id=gone)
        gate.set()
        await shelf.settled()
    for table in ("documents", "document_versions", "chunks"):
        assert not await shelf.rows(f"SELECT FROM {table}"), table


async def test_document_that_comes_while_the_job_ends_is_read(shelf: Shelf):
    """The job waits with its end for who adds documents: here it has seen nothing more to do before the upload was committed."""
    base = UUID(await shelf.base())
    clock = SystemClock()
    async with shelf.database.transaction(shelf.caller.org_id) as db:
        jobs = Jobs(clock, shelf.poke)
        await jobs.enqueue(db, shelf.caller.org_id, INGEST, {"knowledge_id": str(base)}, key=str(base))
    async with shelf.database.transaction(shelf.caller.org_id) as db:
        held = await jobs.enqueue(db, shelf.caller.org_id, INGEST, None, key=str(base), holds=True)
        assert not held.is_new
        async with shelf.working():
            # It runs, and is held up at its end by this transaction.
            await shelf.eventually(lambda: _waits(shelf))
            await db.execute(LATE, base)
            await db.execute("COMMIT")
            await shelf.settled()
        await db.execute("BEGIN")
    (late,) = await shelf.rows("SELECT status, error FROM documents")
    assert (late["status"], "NOT_FETCHED" in late["error"]) == ("failed", True)
    assert len(await shelf.rows("SELECT FROM jobs")) == 1


async def test_many_that_come_at_any_moment_are_all_read(shelf: Shelf):
    """From several clients, new ones and new versions, some deleted, while two workers begin and end jobs."""
    base = await shelf.base()
    rng = random.Random(11)

    async def client(number: int) -> None:
        for version in range(1, 9):
            taken = await shelf.put(base, *(note(each, version) for each in sorted({number, rng.randrange(8)})))
            if rng.random() < 0.2:
                with contextlib.suppress(HubError):  # another client was quicker
                    await shelf.run("documents.delete", id=base, document=taken[0]["id"])
            await let_pass(rng.random() / 50)

    async with shelf.working(), shelf.working():
        await asyncio.gather(*(client(number) for number in range(4)))
        await eventually(lambda: all_ready(shelf))
        await shelf.settled()
    assert await all_ready(shelf)
    documents = await shelf.rows("SELECT id, version, ready_version FROM documents")
    assert all(row["version"] == row["ready_version"] for row in documents)
    chunks = await shelf.rows(CHUNKS)
    assert sorted(row["document_id"] for row in chunks) == sorted(row["id"] for row in documents)


async def test_run_that_was_lost_is_done_again(shelf: Shelf):
    """Its worker stands still; another does the job, and what the first one writes afterwards counts for nothing."""
    base = await shelf.base()
    await shelf.put(base, note(1), note(2))
    gate = shelf.reader.gate = asyncio.Event()
    async with shelf.working():
        await shelf.eventually(lambda: _is(len(shelf.reader.names) == 2))
        await shelf.rows("UPDATE jobs SET attempt = attempt + 1, status = 'queued', worker = NULL, lease_until = NULL")
        gate.set()
        await shelf.settled()
    assert len(await shelf.rows(CHUNKS)) == 2
    assert await all_ready(shelf)


async def test_documents_without_a_job_are_swept_up(shelf: Shelf):
    """Its job was cancelled, or has failed too often."""
    base = await shelf.base()
    await shelf.put(base, note(1))
    await shelf.rows("UPDATE jobs SET status = 'cancelled', finished_at = now()")
    assert await shelf.ingestion.sweep() == 1
    assert await shelf.ingestion.sweep() == 0
    async with shelf.working():
        await shelf.settled()
    assert await all_ready(shelf)


async def test_many_tiny_documents_are_read_in_order(shelf: Shelf):
    """In batches of a bounded size, the oldest first."""
    base = await shelf.base()
    for first in range(0, 300, 100):
        await shelf.put(base, *(note(number) for number in range(first, first + 100)))
    async with shelf.working():
        await shelf.settled()
    hundreds = [int(name.removeprefix("notes/").removesuffix(".md")) // 100 for name in shelf.reader.names]
    assert hundreds == sorted(hundreds)
    assert len(await shelf.rows(CHUNKS)) == 300


async def test_deleted_base_is_found_no_more_and_goes(shelf: Shelf):
    """At once for who asks; its rows by a job."""
    base, other = await shelf.base(), await shelf.base()
    async with shelf.working():
        await shelf.put(base, note(1), wait=20)
        await shelf.put(other, note(2), wait=20)
    await shelf.run("knowledge.delete", id=base)
    assert await shelf.found("sprocket1") == ["Note 2 says sprocket1."]
    assert not await shelf.found("sprocket1", base)
    async with shelf.working():
        await shelf.settled()
    for table in ("documents", "document_versions", "chunks", "chunk_terms", "knowledge_scopes"):
        assert len(await shelf.rows(f"SELECT FROM {table}")) == 1, table


async def _is(holds: bool) -> bool:
    return holds


async def _waits(shelf: Shelf) -> bool:
    """Tell whether somebody waits for a lock in this database."""
    return bool(
        await shelf.rows(
            "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"
        )
    )
