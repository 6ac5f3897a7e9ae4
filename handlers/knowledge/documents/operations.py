"""What can be done with the documents of a knowledge base. What is uploaded is kept at once, and parsed by a job."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.clock import Clock, rfc3339
from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Page, Poured, Shown
from core.operations.validation import validated
from core.store.database import Database
from core.store.statements import Statements
from handlers.knowledge.documents import store
from handlers.knowledge.documents.fetching import Fetcher
from handlers.knowledge.documents.listing import documents_of
from handlers.knowledge.documents.models import (
    ChangeDocument,
    CreateDocuments,
    Document,
    DocumentChange,
    GetContent,
    GetDocument,
    ListDocuments,
    Manifest,
    ManifestAnswer,
    UploadedDocuments,
    Version,
)
from handlers.knowledge.documents.queueing import Queue
from handlers.knowledge.documents.store import SQL, Content, put
from handlers.knowledge.documents.taking import contents_of
from handlers.knowledge.retrieval.index import Index
from handlers.resources.merge import merge_patch

_READ, _WRITE = "read:knowledge", "write:knowledge"
# Between two looks at documents that somebody waits for.
_LOOK_SECONDS = 0.1
# Of a request's deadline, what is left for its answer.
_ANSWER_SECONDS = 2.0
_PART_BYTES = 512 * 1024


# Rows, and whether what was sent is new.
Taken = list[tuple[Any, bool]]


class Documents:
    """The documents of the caller's organisation's bases, which have `most_bytes` together."""

    def __init__(
        self, database: Database, queue: Queue, index: Index, fetcher: Fetcher, clock: Clock, most_bytes: int
    ) -> None:
        self._database = database
        self._queue = queue
        self._index = index
        self._fetcher = fetcher
        self._clock = clock
        self._most_bytes = most_bytes

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "documents.create",
        touches="knowledge",
        scope=_WRITE,
        transaction="none",
        input=CreateDocuments,
        result=Shown,
        shows=UploadedDocuments,
    )
    async def create(self, ctx: Context, new: CreateDocuments) -> Shown:
        """Add documents, or new versions of those that have their names; they are found once they are `ready`."""
        knowledge_id = permitted(ctx, new.id)
        # Hashed away from the loop.
        contents = await asyncio.to_thread(contents_of, new.all, is_single=new.documents is None)
        await self._check_urls(contents, is_single=new.documents is None)
        taken = await self._unchanged(ctx, knowledge_id, contents) or await self._taken(ctx, knowledge_id, contents)
        ids = [row["id"] for row, _ in taken]
        if new.wait:
            await self._wait(ctx, knowledge_id, ids, new.wait)
        async with self._database.read(ctx.caller.org_id) as db:
            rows = {row["id"]: row for row in await db.fetch(SQL["of_ids"], knowledge_id, ids)}
        data = [{**store.shown(rows.get(row["id"], row)), "unchanged": not is_new} for row, is_new in taken]
        return Shown(orjson.dumps({"data": data}).decode())

    @operation(
        "documents.get",
        touches="knowledge",
        scope=_READ,
        transaction="read",
        input=GetDocument,
        result=Shown,
        shows=Document,
    )
    async def get(self, ctx: Context, wanted: GetDocument) -> Shown:
        """Look at one document: its state, and what its content told."""
        knowledge_id = permitted(ctx, wanted.id)
        return Shown(store.text(await store.find(ctx.db, knowledge_id, parse_id(wanted.document))))

    @operation(
        "documents.update",
        touches="knowledge",
        scope=_WRITE,
        transaction="write",
        input=ChangeDocument,
        result=Shown,
        shows=Document,
        body=DocumentChange,
    )
    async def update(self, ctx: Context, change: ChangeDocument) -> Shown:
        """Change a document's metadata by JSON Merge Patch; what is found of it stays."""
        knowledge_id = permitted(ctx, change.id)
        patch = validated(DocumentChange, change.body).model_dump(mode="json", exclude_unset=True)
        held = await store.find(ctx.db, knowledge_id, parse_id(change.document), hold=True)
        metadata = merge_patch({"metadata": orjson.loads(held["metadata"])}, patch).get("metadata") or {}
        text = orjson.dumps(metadata).decode()
        row = await ctx.db.fetchrow(SQL["describe"], knowledge_id, held["id"], text, ctx.now)
        return Shown(store.text(row))

    @operation(
        "documents.delete",
        touches="knowledge",
        scope=_WRITE,
        transaction="write",
        input=GetDocument,
        result=Deleted,
        repeatable=True,
    )
    async def delete(self, ctx: Context, gone: GetDocument) -> Deleted:
        """Delete a document with its versions; from then on it is not found."""
        knowledge_id = permitted(ctx, gone.id)
        held = await store.find(ctx.db, knowledge_id, parse_id(gone.document), hold=True)
        await self._remove(ctx.db, knowledge_id, [held["id"]])
        return Deleted("documents", held["id"], held["version"])

    @operation(
        "documents.list",
        touches="knowledge",
        scope=_READ,
        transaction="read",
        input=ListDocuments,
        result=Page,
        shows=Document,
    )
    async def list(self, ctx: Context, wanted: ListDocuments) -> Page:
        """List the documents of a base, newest first."""
        knowledge_id = permitted(ctx, wanted.id)
        if await ctx.db.fetchval(SQL["has_base"], knowledge_id) is None:
            _no_base()
        return await documents_of(ctx.db, knowledge_id, wanted)

    @operation(
        "documents.versions",
        touches="knowledge",
        scope=_READ,
        transaction="read",
        input=GetDocument,
        result=Page,
        shows=Version,
    )
    async def versions(self, ctx: Context, wanted: GetDocument) -> Page:
        """List the versions of a document that are kept, the last one first."""
        found = await store.find(ctx.db, permitted(ctx, wanted.id), parse_id(wanted.document))
        rows = await ctx.db.fetch(SQL["versions"], found["id"])
        return Page([_version(row) for row in rows], 1, max(len(rows), 1), len(rows))

    @operation(
        "documents.content",
        touches="knowledge",
        scope=_READ,
        transaction="read",
        input=GetContent,
        result=Poured,
    )
    async def content(self, ctx: Context, wanted: GetContent) -> Poured:
        """Get a document's content as it was uploaded, of its last version or an earlier one."""
        found = await store.find(ctx.db, permitted(ctx, wanted.id), parse_id(wanted.document))
        row = await ctx.db.fetchrow(SQL["version"], found["id"], wanted.version)
        if row is None:
            raise HubError("RESOURCE_NOT_FOUND", "This version is not kept")
        parts = _parts(ctx.db, found["id"], row["version"], row["bytes"])
        return Poured(row["content_type"], found["name"].rpartition("/")[2], parts)

    @operation(
        "documents.manifest",
        touches="knowledge",
        scope=_WRITE,
        transaction="write",
        input=Manifest,
        result=Shown,
        shows=ManifestAnswer,
    )
    async def manifest(self, ctx: Context, has: Manifest) -> Shown:
        """Compare the files that a client has with the documents of a base, and tell which are to be uploaded."""
        knowledge_id = permitted(ctx, has.id)
        await base(ctx.db, knowledge_id)
        rows = await ctx.db.fetch(SQL["manifest"], knowledge_id)
        here = {row["name"]: row for row in rows}
        upload = [each.name for each in has.documents if not _has(here.get(each.name), each.hash)]
        missing = sorted(here.keys() - {each.name for each in has.documents})
        if has.delete_missing:
            await self._remove(ctx.db, knowledge_id, [here[name]["id"] for name in missing])
        said = ManifestAnswer(
            upload=upload,
            unchanged=len(has.documents) - len(upload),
            missing=missing,
            deleted=len(missing) if has.delete_missing else 0,
        )
        return Shown(said.model_dump_json())

    @operation(
        "documents.refresh",
        touches="knowledge",
        scope=_WRITE,
        transaction="write",
        input=GetDocument,
        result=Shown,
        shows=Document,
    )
    async def refresh(self, ctx: Context, wanted: GetDocument) -> Shown:
        """Fetch a document from its URL again; what it had is found until the new content is ready."""
        knowledge_id = permitted(ctx, wanted.id)
        await self._queue.ingest(ctx, ctx.db, knowledge_id)
        await base(ctx.db, knowledge_id)
        held = await store.find(ctx.db, knowledge_id, parse_id(wanted.document), hold=True)
        if held["url"] is None:
            raise HubError(
                "RESOURCE_CONFLICT", "The document was uploaded; it has no URL that it could be fetched from"
            )
        row = await ctx.db.fetchrow(SQL["again"], held["id"], ctx.now)
        return Shown(store.text(row))

    async def _taken(self, ctx: Context, knowledge_id: UUID, contents: Sequence[Content]) -> Taken:
        """Take all of them in one transaction; return their rows, and which are new."""
        async with ctx.transaction() as db:
            await self._queue.ingest(ctx, db, knowledge_id)
            await base(db, knowledge_id)
            await self._check_room(db, sum(len(each.data or b"") for each in contents))
            # In one order, so that two requests with the same names never wait for each other.
            taken = {each.name: await put(db, knowledge_id, each, ctx.now) for each in sorted(contents, key=_name)}
        return [taken[each.name] for each in contents]

    async def _wait(self, ctx: Context, knowledge_id: UUID, ids: Sequence[UUID], seconds: int) -> None:
        until = min(self._clock.monotonic() + seconds, ctx.deadline - _ANSWER_SECONDS)
        while self._clock.monotonic() < until:
            async with self._database.read(ctx.caller.org_id) as db:
                if not await db.fetchval(SQL["waiting"], knowledge_id, list(ids)):
                    return
            await self._clock.sleep(_LOOK_SECONDS)

    async def _remove(self, db: Statements, knowledge_id: UUID, ids: Sequence[UUID]) -> None:
        held = await db.fetch(SQL["hold_all"], knowledge_id, list(ids))
        for row in held:
            await self._index.remove(db, knowledge_id, row["id"])
        await db.execute(SQL["remove"], knowledge_id, [row["id"] for row in held])

    async def _unchanged(self, ctx: Context, knowledge_id: UUID, contents: Sequence[Content]) -> Taken | None:
        """Return the documents where all are ready as they are sent: then nothing is written, not even a job. Else None."""
        async with self._database.read(ctx.caller.org_id) as db:
            rows = await db.fetch(SQL["of_names"], knowledge_id, [each.name for each in contents])
        held = {row["name"]: row for row in rows}
        if all(each.name in held and _is_same(each, held[each.name]) for each in contents):
            return [(held[each.name], False) for each in contents]
        return None

    async def _check_urls(self, contents: Sequence[Content], *, is_single: bool) -> None:
        checks = [
            self._fetcher.check(each.url, "url" if is_single else f"documents[{number}].url")
            for number, each in enumerate(contents)
            if each.url is not None
        ]
        await asyncio.gather(*checks)

    async def _check_room(self, db: Statements, more: int) -> None:
        if more and await db.fetchval(SQL["room"]) + more > self._most_bytes:
            most = self._most_bytes >> 20
            raise HubError("PAYLOAD_TOO_LARGE", f"The documents of an organisation have at most {most} MiB together")


def permitted(ctx: Context, text: str) -> UUID:
    """Return the id of a base that the caller may touch; raises HubError RESOURCE_NOT_FOUND."""
    id = parse_id(text)
    if id is None or not ctx.caller.may_touch(id):
        _no_base()
    return id


async def base(db: Statements, knowledge_id: UUID) -> None:
    """Hold a base until the transaction ends; raises HubError RESOURCE_NOT_FOUND where it is not there."""
    if await db.fetchval(SQL["base"], knowledge_id) is None:
        _no_base()


def _no_base() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no knowledge with this id")


def _is_same(content: Content, held: Any) -> bool:
    return (
        content.data is not None
        and held["status"] == "ready"
        and held["url"] is None
        and (content.hash, content.content_type) == (held["hash"], held["content_type"])
        and (content.metadata is None or content.metadata == orjson.loads(held["metadata"]))
    )


def _has(row: Any, hash: str) -> bool:
    """Tell whether a document is as a client has it; one that has failed may do better the next time."""
    return row is not None and row["hash"].hex() == hash and row["status"] != "failed" and not row["to_fetch"]


def _name(content: Content) -> str:
    return content.name


def _version(row: Any) -> str:
    said = {
        "id": str(row["version"]),
        "version": row["version"],
        "content_type": row["content_type"],
        "bytes": row["bytes"],
    }
    return orjson.dumps({**said, "hash": row["hash"].hex(), "created_at": rfc3339(row["created_at"])}).decode()


async def _parts(db: Statements, id: UUID, version: int, size: int) -> AsyncGenerator[bytes]:
    """Give a content part by part, each read when the one before is sent: a slow reader holds no more than one."""
    for at in range(0, size, _PART_BYTES):
        part = await db.fetchval(SQL["part"], id, version, at + 1, _PART_BYTES)
        if part is None:
            raise HubError("RESOURCE_CONFLICT", "The document was removed while it was sent")
        yield part
