"""What can be done with knowledge bases."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from core.errors import Detail, HubError
from core.events.catalogue import EventType
from core.operations.context import Context
from core.operations.results import Deleted, Document
from handlers.knowledge.documents.progress import EVENT_TYPES
from handlers.knowledge.documents.sources import Sources, urls_of
from handlers.knowledge.models import KnowledgeBody
from handlers.knowledge.retrieval.index import recorded
from handlers.resources.crud import Resource
from handlers.resources.json_patch import writes_to
from handlers.resources.models import ChangeInput, DeleteInput, UpdateInput
from handlers.resources.store import Beside

_LONGEST_NAME = 200


class Knowledge(Resource[KnowledgeBody]):
    """Knowledge bases, kept as documents."""

    kind = "knowledge"
    event = "knowledge"
    body = KnowledgeBody

    def __init__(self, sources: Sources | None = None) -> None:
        super().__init__()
        # None: there is nobody to fetch, or to purge, where operations are only looked at.
        self._sources = sources

    def event_types(self) -> list[EventType]:
        """Return the types of a base's events, those of its documents' ingestion too."""
        return [*super().event_types(), *EVENT_TYPES]

    async def create(self, ctx: Context, new: KnowledgeBody) -> Document:
        """Create a knowledge base; URLs among its sources are fetched."""
        made = await super().create(ctx, new)
        await self._declare(ctx, made.id, urls_of(new.model_dump(include={"sources"})))
        return made

    async def delete(self, ctx: Context, gone: DeleteInput) -> Deleted:
        """Delete a knowledge base with its documents; its history and its events stay."""
        deleted = await super().delete(ctx, gone)
        if self._sources is not None:
            await self._sources.gone(ctx, deleted.id)
        return deleted

    async def _change(self, ctx: Context, change: ChangeInput, *, keep: bool) -> Document:
        urls = urls_of(change.body)
        # What a JSON Patch makes of the sources is known only when the base is held.
        patches = isinstance(change, UpdateInput) and writes_to(change.patch or (), "sources")
        id = self._permitted(ctx, change.id)
        if (urls or patches) and self._sources is not None:
            await self._sources.begin(ctx, id)
        changed = await super()._change(ctx, change, keep=keep)
        await self._declare(ctx, id, urls_of(orjson.loads(changed.body)) if patches else urls)
        return changed

    async def _declare(self, ctx: Context, id: UUID, urls: Sequence[str]) -> None:
        if urls and self._sources is not None:
            await self._sources.begin(ctx, id)
            await self._sources.declare(ctx, id, urls)

    def describe(self, body: KnowledgeBody) -> tuple[str, str, str]:
        """Return name, type and status; a record without a name is called by its own `name`, else by its type."""
        if body.name is None and body.data is None:
            missing = Detail("name", "MISSING_REQUIRED_FIELD", "Field required, unless data is the record itself")
            raise HubError("VALIDATION_ERROR", details=[missing])
        return body.name or _own_name(body.data) or body.type, body.type, body.status

    def beside(self, id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Beside | None:
        """Put the base's own record into the index of knowledge, so that a question finds it from the answer on."""
        was, becomes = _record(before), _record(after)
        if was == becomes:
            return None
        name, data = becomes or ("", None)
        return recorded(id, name, data)


def _record(fields: Mapping[str, Any] | None) -> tuple[str, Any] | None:
    return None if fields is None or fields["data"] is None else (fields["name"], fields["data"])


def _own_name(data: dict[str, Any] | list[Any] | None) -> str | None:
    if not isinstance(data, Mapping):
        return None
    named = next((data[key] for key in ("name", "Name") if isinstance(data.get(key), str)), "")
    # A record's strings may hold NUL, a name may not: PostgreSQL's text has none.
    return named.replace("\x00", "").strip()[:_LONGEST_NAME].rstrip() or None
