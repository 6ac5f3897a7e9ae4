"""Lists of an agent's sessions."""

from pathlib import Path
from uuid import UUID

from core.operations.results import Page
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.agents.sessions.models import ListSessions
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
            Field("title", "title", Kind.TEXT),
            Field("created_at", "created_at", Kind.MOMENT),
            Field("updated_at", "updated_at", Kind.MOMENT),
        )
    }
)
# By the index sessions_by_agent.
LAST_USED = complete([Key(FIELDS.by_name["updated_at"], descending=True)], FIELDS)
# Metadata are of a session's request: 1 MiB at most.
_LISTED = Owned(Listed("sessions", "sessions", FIELDS, LAST_USED, 8), _SQL["listed"], "agent_id")


async def sessions_of(db: Statements, agent_id: UUID, wanted: ListSessions) -> Page:
    """Return a page of an agent's sessions; raises HubError as lists do."""
    return await _LISTED.page(db, wanted, agent_id)
