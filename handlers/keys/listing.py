"""Lists of keys. Whether one is live, expired or revoked is told as of the list's moment."""

from datetime import datetime
from pathlib import Path

from core.operations.results import Page
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.keys.models import Key, ListKeys
from handlers.lists.asking import Asking, Listed
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.lister import Lister
from handlers.lists.order import Key as Sorting
from handlers.lists.order import complete
from handlers.lists.selection import selection_of

_SQL = load_queries(Path(__file__).with_name("queries.sql"))
# Texts are compared by code points, as those of other lists. A page's total goes through all keys of the organisation, so what they
# are sorted by has no index of its own.
FIELDS = Fields(
    {
        field.name: field
        for field in (
            Field("id", "id", Kind.ID),
            Field("name", 'name COLLATE "C"', Kind.TEXT),
            Field("hint", 'hint COLLATE "C"', Kind.TEXT, sortable=False),
            Field("status", 'status COLLATE "C"', Kind.TEXT, then="created_at"),
            Field("created_at", "created_at", Kind.MOMENT),
            Field("updated_at", "updated_at", Kind.MOMENT),
            Field("expires_at", "expires_at", Kind.MOMENT, sortable=False, nullable=True),
            Field("revoked_at", "revoked_at", Kind.MOMENT, sortable=False, nullable=True),
            Field("old_secret_until", "old_secret_until", Kind.MOMENT, sortable=False, nullable=True),
        )
    }
)
NEWEST = complete([Sorting(FIELDS.by_name["created_at"], descending=True)], FIELDS)
# A thousand resources are the most of a key, 40 KB: a page always fits.
_LISTED = Listed("keys", "keys", FIELDS, NEWEST, 100)
_LISTER = Lister(_LISTED)


async def keys_of(db: Statements, wanted: ListKeys, now: datetime) -> Page:
    """Return a page of keys as they are at `now`; raises HubError as lists do."""
    tree = None if wanted.fields is None else selection_of(wanted.fields, Key.model_fields)
    asking = Asking(_LISTED, wanted, (wanted.status,))
    rows = _SQL["listed"].replace("{now}", f"{asking.bind(now)}::timestamptz")
    asking.table = f"({rows}) AS listed"
    asking.require_equal("status", wanted.status)
    return await _LISTER.asked(db, wanted, asking, tree)
