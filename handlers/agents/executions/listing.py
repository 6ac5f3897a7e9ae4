"""Lists of executions."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from core.operations.results import Page
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.agents.executions.models import ListExecutions, ListOfAgent
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
            Field("agent_id", "agent_id", Kind.ID, sortable=False),
            Field("session_id", "session_id", Kind.ID, sortable=False),
            Field("status", 'status COLLATE "C"', Kind.TEXT, sortable=False),
            Field("created_at", "created_at", Kind.MOMENT),
        )
    }
)
NEWEST = complete([Key(FIELDS.by_name["created_at"], descending=True)], FIELDS)
# A query of 64 KiB, a context of 1 MiB, a text of 256 KiB and what it cites.
_LISTED = Listed("executions", "executions", FIELDS, NEWEST, 4)
_LISTER = Lister(_LISTED)


async def executions_of(
    db: Statements, agent_id: UUID | None, wanted: ListExecutions | ListOfAgent, among: Sequence[UUID] | None
) -> Page:
    """Return a page of executions, of one agent where `agent_id` names it, of the agents `among`; raises HubError as lists do."""
    asking = Asking(_LISTED, wanted, (agent_id, wanted.status))
    rows = _SQL["listed"]
    asking.table = f"({rows}) AS listed"
    if agent_id is not None:
        asking.require(f"agent_id = {asking.bind(agent_id)}")
    if among is not None:
        asking.require(f"agent_id = ANY ({asking.bind(list(among))}::uuid[])")
    asking.require_equal("status", wanted.status)
    return await _LISTER.asked(db, wanted, asking)
