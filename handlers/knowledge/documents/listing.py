"""Lists of a base's documents."""

from pathlib import Path
from uuid import UUID

from core.operations.results import Page
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.knowledge.documents.models import ListDocuments
from handlers.lists.asking import Asking, Listed
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.lister import Lister
from handlers.lists.order import Key, complete

_SQL = load_queries(Path(__file__).with_name("listing.sql"))
FIELDS = Fields(
    {
        field.name: field
        for field in (
            Field("id", "id", Kind.ID),
            Field("name", "name", Kind.TEXT),
            Field("status", 'status COLLATE "C"', Kind.TEXT, then="created_at"),
            Field("content_type", 'content_type COLLATE "C"', Kind.TEXT, sortable=False),
            Field("created_at", "created_at", Kind.MOMENT),
            Field("updated_at", "updated_at", Kind.MOMENT),
        )
    }
)
NEWEST = complete([Key(FIELDS.by_name["created_at"], descending=True)], FIELDS)
# Metadata are of a document's request: 1 MiB at most.
_LISTED = Listed("documents", "documents", FIELDS, NEWEST, 8)
_LISTER = Lister(_LISTED)


async def documents_of(db: Statements, knowledge_id: UUID, wanted: ListDocuments) -> Page:
    """Return a page of a base's documents; raises HubError as lists do."""
    asking = Asking(_LISTED, wanted, (knowledge_id, wanted.status, wanted.name, wanted.q))
    rows = _SQL["listed"]
    asking.table = f"({rows}) AS listed"
    asking.require(f"knowledge_id = {asking.bind(knowledge_id)}")
    asking.require_equal("status", wanted.status)
    asking.require_equal("name", wanted.name)
    if wanted.q:
        asking.require(f"strpos(lower(name), {asking.bind(wanted.q.lower())}) > 0")
    return await _LISTER.asked(db, wanted, asking)
