"""Lists of simulations."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from core.operations.results import Page
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.lists.asking import Listed
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.order import Key, complete
from handlers.lists.owned import Owned
from handlers.twins.simulations.models import ListOfTwin, ListSimulations

_SQL = load_queries(Path(__file__).with_name("listing.sql"))
FIELDS = Fields(
    {
        field.name: field
        for field in (
            Field("id", "id", Kind.ID),
            Field("twin_id", "twin_id", Kind.ID, sortable=False),
            Field("branch_id", "branch_id", Kind.ID, sortable=False),
            Field("scenario", 'scenario COLLATE "C"', Kind.TEXT, sortable=False),
            Field("status", 'status COLLATE "C"', Kind.TEXT, sortable=False),
            Field("created_at", "created_at", Kind.MOMENT),
        )
    }
)
NEWEST = complete([Key(FIELDS.by_name["created_at"], descending=True)], FIELDS)
# Parameters may be a patch of a MiB, and a summary tells of all nodes.
_LISTED = Owned(Listed("simulations", "simulations", FIELDS, NEWEST, 4), _SQL["listed"], "twin_id")


async def simulations_of(
    db: Statements, twin_id: UUID | None, wanted: ListSimulations | ListOfTwin, among: Sequence[UUID] | None
) -> Page:
    """Return a page of simulations, of one twin where `twin_id` names it, of the twins `among`; raises HubError as lists do."""
    return await _LISTED.page(db, wanted, twin_id, among, {"status": wanted.status, "scenario": wanted.scenario})
