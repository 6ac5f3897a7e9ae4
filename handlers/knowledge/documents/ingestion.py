"""Documents that wait are fetched, read and put into the index, by one job for each base that has any.

A batch is loaded, read with no transaction open, and written in one, each document with its state: what was replaced or deleted
meanwhile is not written. The job ends in a transaction that has seen nothing waiting; whoever adds documents holds the job before
(Jobs.enqueue, `holds`), so none is forgotten. A worker that dies leaves what it had not written to the next.

Locks are taken in this order, here and by whoever adds documents: the job, the base, documents by name.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.clock import Clock
from core.errors import HubError
from core.events import outbox
from core.jobs.jobs import Jobs
from core.jobs.kind import JobKind, RetryPolicy
from core.jobs.run import JobRun
from core.store.database import Database, StatementError
from core.store.statements import Statements
from handlers.knowledge.documents import store
from handlers.knowledge.documents.fetching import Fetched, Fetcher, NotFetched
from handlers.knowledge.documents.models import MOST_BYTES
from handlers.knowledge.documents.progress import Tally, progress
from handlers.knowledge.documents.queueing import INGEST
from handlers.knowledge.documents.store import SQL
from handlers.knowledge.documents.taking import type_of
from handlers.knowledge.parsing.parsed import Parsed
from handlers.knowledge.parsing.unparsable import Unparsable
from handlers.knowledge.retrieval.index import Index
from handlers.resources.touching import touched

# Of a batch: together they are read in a second or so, and this much is in memory.
MOST_DOCUMENTS = 32
BATCH_BYTES = 16 << 20
TOLD_SECONDS = 1.0
BASES_A_SWEEP = 500
CONCURRENCY = 4
# A base of very many documents takes long, and a worker's death is nobody's fault.
_RETRY = RetryPolicy(attempts=20, most_seconds=60.0)
_MOST_SECONDS = 24 * 3600.0


class Parser(Protocol):
    """What reads a document."""

    async def parse(self, content: bytes, content_type: str, name: str) -> Parsed:
        """Return its chunks; raises Unparsable."""
        ...


class Embeds(Protocol):
    """What gives chunks their vectors, later."""

    async def ask(self, db: Statements, org_id: UUID, knowledge_id: UUID, document_id: UUID | None) -> None:
        """Have it done once the transaction of `db` is committed."""
        ...


@dataclass(slots=True)
class Read:
    """A document of a batch, and what came of it: `parsed`, or an `error`; neither where what was fetched is found already.

    `content` is None where there is none yet; `is_kept` tells whether this version had one. `changed` is when it was last changed.
    """

    id: UUID
    name: str
    version: int
    content_type: str
    url: str | None
    hash: bytes
    to_fetch: bool
    validators: str | None
    ready_version: int | None
    changed: datetime
    content: bytes | None
    is_kept: bool
    fetched: Fetched | None = None
    parsed: Parsed | None = None
    error: dict[str, str] | None = None

    @property
    def is_found(self) -> bool:
        """Whether its version is in the index."""
        return self.ready_version == self.version


_COLUMNS = (
    "id",
    "name",
    "version",
    "content_type",
    "url",
    "hash",
    "to_fetch",
    "validators",
    "ready_version",
    "changed",
)


class Goes(Exception):
    """The job goes on: something waits after all."""


@dataclass
class Ingestion:
    """Does the jobs. `poke` wakes the relay after events. An organisation's documents have `most_bytes` together."""

    database: Database
    parser: Parser
    index: Index
    fetcher: Fetcher
    embeds: Embeds
    jobs: Jobs
    clock: Clock
    poke: Callable[[], None]
    most_bytes: int
    kind: JobKind = field(init=False)

    def __post_init__(self) -> None:
        """Make its kind."""
        self.kind = JobKind(INGEST, self.ingest, _RETRY, concurrency=CONCURRENCY, most_seconds=_MOST_SECONDS)

    async def ingest(self, run: JobRun) -> None:
        """Read all that waits in a base."""
        tally = Tally(UUID(run.payload["knowledge_id"]))
        told = self.clock.monotonic()
        while True:
            batch = await self._batch(run, tally.knowledge_id)
            if batch:
                await asyncio.gather(*(self._read(each) for each in batch))
                if not await self._write(run, tally, batch):
                    return  # the base is gone
            elif await self._ended(run, tally):
                return
            if batch and self.clock.monotonic() - told >= TOLD_SECONDS:
                told = self.clock.monotonic()
                await self._tell(run, tally)

    async def sweep(self) -> int:
        """Make jobs for bases whose documents wait without one; returns how many."""
        async with self.database.unbound() as db:
            found = await db.fetch("SELECT * FROM bases_to_ingest($1)", BASES_A_SWEEP)
        for row in found:
            async with self.database.transaction(row["org_id"]) as db:
                id = str(row["knowledge_id"])
                await self.jobs.enqueue(db, row["org_id"], INGEST, {"knowledge_id": id}, key=id)
        if found:
            self.jobs.poke()
        return len(found)

    async def _batch(self, run: JobRun, knowledge_id: UUID) -> list[Read]:
        async with self.database.read(_org_of(run)) as db:
            rows = await db.fetch(SQL["pending"], knowledge_id, MOST_DOCUMENTS, BATCH_BYTES, MOST_BYTES // 4)
            ids, versions = [row["id"] for row in rows], [row["version"] for row in rows]
            contents = {row["document_id"]: row["content"] for row in await db.fetch(SQL["contents"], ids, versions)}
        return [_unread(row, contents.get(row["id"])) for row in rows]

    async def _read(self, document: Read) -> None:
        try:
            if document.to_fetch:
                await self._fetch(document)
                if document.fetched is None and document.is_found:
                    return
            if document.content is None:
                raise NotFetched("Its content is not kept")
            document.parsed = await self.parser.parse(document.content, document.content_type, document.name)
        except NotFetched as error:
            document.error = {"code": "NOT_FETCHED", "message": str(error)}
        except Unparsable as error:
            document.error = {"code": error.code, "message": error.message}
        finally:
            if document.fetched is None:
                document.content = None

    async def _fetch(self, document: Read) -> None:
        if document.url is None:
            raise NotFetched("It has no URL")
        fetched = await self.fetcher.fetch(document.url, document.validators if document.content is not None else None)
        if fetched is None:
            return
        if document.content is not None and fetched.hash == document.hash:
            document.validators = fetched.validators
            return
        content_type = fetched.content_type or type_of(document.name)
        document.fetched = Fetched(fetched.data, content_type, fetched.validators, fetched.hash)
        document.content, document.content_type = fetched.data, content_type

    async def _write(self, run: JobRun, tally: Tally, batch: Sequence[Read]) -> bool:
        """Write a batch by one transaction; where PostgreSQL refuses something in it, each document by its own.

        Returns False where the base is gone.
        """
        try:
            written = await self._write_together(run, tally.knowledge_id, batch)
        except StatementError:
            written = set[UUID]()
            for each in batch:
                found = await self._write_alone(run, tally.knowledge_id, each)
                written = None if found is None or written is None else written | found
        if written is None:
            return False
        for each in batch:
            if each.id in written:
                tally.add(each.id, each.name, each.error)
        return True

    async def _write_alone(self, run: JobRun, knowledge_id: UUID, document: Read) -> set[UUID] | None:
        try:
            return await self._write_together(run, knowledge_id, [document])
        except StatementError as error:
            document.error = {"code": "INTERNAL_ERROR", "message": f"It cannot be kept: {type(error).__name__}"}
            document.fetched = None
            return await self._write_together(run, knowledge_id, [document])

    async def _write_together(self, run: JobRun, knowledge_id: UUID, batch: Sequence[Read]) -> set[UUID] | None:
        """Return which were written, None where the base is gone."""
        columns = zip(*((each.id, each.version, each.to_fetch, each.changed) for each in batch), strict=True)
        async with run.transaction() as db:
            if await db.fetchval(SQL["base"], knowledge_id) is None:
                return None
            current = {row["id"] for row in await db.fetch(SQL["lock_versions"], *(list(each) for each in columns))}
            for each in batch:
                if each.id in current:
                    await self._write_one(db, _org_of(run), knowledge_id, each)
        return current

    async def _write_one(self, db: Statements, org_id: UUID, knowledge_id: UUID, document: Read) -> None:
        now = self.clock.now()
        await self._check_room(db, document)
        if document.fetched is not None:
            # The first content of a document is its first version; what is kept of it is never written over.
            version = document.version + 1 if document.is_kept else document.version
            await store.put_fetched(db, document.id, version, document.fetched, now)
        if document.error is not None:
            await db.execute(SQL["failed"], document.id, orjson.dumps(document.error).decode(), now)
            return
        parsed = document.parsed
        if parsed is None:
            await db.execute(SQL["still_ready"], document.id, document.validators)
            return
        await self.index.put(db, org_id, knowledge_id, document.id, parsed.language, parsed.chunks)
        count = len(parsed.chunks)
        await db.execute(SQL["ready"], document.id, parsed.title, parsed.language, parsed.pages, count, now)
        if count:
            await self.embeds.ask(db, org_id, knowledge_id, document.id)

    async def _check_room(self, db: Statements, document: Read) -> None:
        """Turn what was fetched into an error where there is no room for it: nobody knew its size before."""
        fetched = document.fetched
        if fetched is not None and await db.fetchval(SQL["room"]) + len(fetched.data) > self.most_bytes:
            told = f"The documents of an organisation have at most {self.most_bytes >> 20} MiB together"
            document.fetched, document.error = None, {"code": "NOT_FETCHED", "message": told}

    async def _tell(self, run: JobRun, tally: Tally) -> None:
        async with run.transaction() as db:
            if await db.fetchval(SQL["hold_base"], tally.knowledge_id) is None:
                return
            left = await db.fetchval(SQL["left"], tally.knowledge_id)
            await outbox.put(db, _org_of(run), [progress(tally, left, self.clock.now())])
        self.poke()
        await run.tell(tally.said(left))

    async def _ended(self, run: JobRun, tally: Tally) -> bool:
        """End the job, unless something waits again; the base becomes a new version where its documents have changed."""
        try:
            async with run.finishing(tally.said(0)) as db:
                if await db.fetchval(SQL["left"], tally.knowledge_id):
                    raise Goes
                now = self.clock.now()
                changed = (
                    await touched(db, "knowledge", "knowledge.updated", tally.knowledge_id, now)
                    if tally.count
                    else None
                )
                if changed is not None:
                    await outbox.put(db, _org_of(run), [progress(tally, 0, now), changed])
        except Goes:
            return False
        except HubError as error:
            if error.code != "RESOURCE_LOCKED":
                raise
            return False  # a long upload holds the job: what it brings is done too
        self.poke()
        return True


def _unread(row: Any, content: bytes | None) -> Read:
    return Read(**{name: row[name] for name in _COLUMNS}, content=content, is_kept=content is not None)


def _org_of(run: JobRun) -> UUID:
    assert run.org_id is not None  # noqa: S101 - such jobs are an organisation's
    return run.org_id
