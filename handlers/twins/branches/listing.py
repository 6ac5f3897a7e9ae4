"""Lists of a twin's branches."""

from uuid import UUID

from core.operations.results import Page
from core.store.statements import Statements
from handlers.lists.asking import Listed
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.order import Key, complete
from handlers.lists.owned import Owned
from handlers.twins.branches.models import ListBranches
from handlers.twins.branches.store import SQL

FIELDS = Fields(
    {
        field.name: field
        for field in (
            Field("id", "id", Kind.ID),
            Field("name", "name", Kind.TEXT),
            Field("status", "status", Kind.TEXT),
            Field("created_at", "created_at", Kind.MOMENT),
            Field("updated_at", "updated_at", Kind.MOMENT),
        )
    }
)
# By the index branches_by_twin.
NEWEST = complete([Key(FIELDS.by_name["created_at"], descending=True)], FIELDS)
# Without their documents they are short: a page of any length fits.
_LISTED = Owned(Listed("branches", "branches", FIELDS, NEWEST, 100), SQL["listed"], "twin_id")


async def branches_of(db: Statements, twin_id: UUID, wanted: ListBranches) -> Page:
    """Return a page of a twin's branches; raises HubError as lists do."""
    return await _LISTED.page(db, wanted, twin_id)
