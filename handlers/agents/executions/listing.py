"""Lists of executions."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from core.operations.results import Page
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.agents.executions.models import ListExecutions, ListOfAgent
from handlers.lists.asking import Listed
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.order import Key, complete
from handlers.lists.owned import Owned

_SQL = load_queries(Path(__file__).with_name("listing.sql"))
FIELDS = Fields(
    {
        field.name: field
        for field in (
            Field("id", "id", Kind.ID),
            Field("agent_id", "agent_id", Kind.ID, sortable=False),
            Field("session_id", "session_id", Kind.ID, sortable=False),
            Field("status", 'status COLLATE "C"', Kind.TEXT, sortable=False),
            Field("created_at", "created_at", Kind.MOMENT),
        )
    }
)
NEWEST = complete([Key(FIELDS.by_name["created_at"], descending=True)], FIELDS)
# A query of 64 KiB, a context of 1 MiB, a text of 256 KiB and what it cites.
_LISTED = Owned(Listed("executions", "executions", FIELDS, NEWEST, 4), _SQL["listed"], "agent_id")


async def executions_of(
    db: Statements, agent_id: UUID | None, wanted: ListExecutions | ListOfAgent, among: Sequence[UUID] | None
) -> Page:
    """Return a page of executions, of one agent where `agent_id` names it, of the agents `among`; raises HubError as lists do."""
    return await _LISTED.page(db, wanted, agent_id, among, {"status": wanted.status})
