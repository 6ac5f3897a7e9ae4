"""What can be done with the audit: it is read. Reads and refusals stand in it a second later than they happened."""

from core.errors import HubError
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page
from core.store.statements import Statements
from handlers.audit.models import AuditEntry, ListAudit
from handlers.lists.asking import Asking, Listed
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.lister import Lister
from handlers.lists.order import Key, complete
from handlers.lists.turns import Turns

# Texts are compared by code points, as the indexes have them.
FIELDS = Fields(
    {
        field.name: field
        for field in (
            Field("id", "id", Kind.ID, sortable=False),
            Field("time", "time", Kind.MOMENT),
            Field("subject", 'caller COLLATE "C"', Kind.TEXT, sortable=False),
            Field("operation", 'operation COLLATE "C"', Kind.TEXT, sortable=False),
            Field("target", 'target COLLATE "C"', Kind.TEXT, sortable=False),
            Field("outcome", 'outcome COLLATE "C"', Kind.TEXT, sortable=False),
            Field("request_id", 'request_id COLLATE "C"', Kind.TEXT, sortable=False),
        )
    }
)
NEWEST = complete([Key(FIELDS.by_name["time"], descending=True)], FIELDS)
# The times of the hub have six digits and a Z everywhere. A row is small, so a page always fits.
_DOCUMENT = """json_build_object('id', id, 'time', to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'subject', caller, 'operation', operation, 'target', target, 'request_id', request_id, 'outcome', outcome)::text AS document"""
_LISTED = Listed("audit", "audit", FIELDS, NEWEST, 100, _DOCUMENT)
_LISTER = Lister(_LISTED)


class Audit:
    """The audit of the caller's organisation; it is asked in turns, as the log is."""

    def __init__(self) -> None:
        self._turns = Turns()

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation("audit.list", scope="read:audit", transaction="read", input=ListAudit, result=Page, shows=AuditEntry)
    async def list(self, ctx: Context, wanted: ListAudit) -> Page:
        """List what was done, newest first: who, what, on what, when, and how it ended."""
        if ctx.caller.resource_ids is not None:
            raise HubError("FORBIDDEN", "This credential is for some resources only; the audit is of all")
        async with self._turns.taken(ctx.caller.org_id):
            return await audit_of(ctx.db, wanted)


async def audit_of(db: Statements, wanted: ListAudit) -> Page:
    """Return a page of entries; raises HubError as lists do."""
    asking = Asking(_LISTED, wanted, (wanted.subject, wanted.operation, wanted.target, wanted.outcome))
    for name in ("subject", "operation", "target", "outcome"):
        asking.require_equal(name, getattr(wanted, name))
    return await _LISTER.asked(db, wanted, asking)
