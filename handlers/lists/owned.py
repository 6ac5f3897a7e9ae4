"""Lists of what belongs to resources: the runs of an agent, the branches of a twin."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from core.operations.results import Page
from core.store.statements import Statements
from handlers.lists.asking import Asking, Listed
from handlers.lists.lister import Lister
from handlers.lists.models import Sorted


class Owned:
    """Lists rows as `rows` (SQL) gives them; `owner` is the column with the id of the resource that each belongs to."""

    def __init__(self, listed: Listed, rows: str, owner: str) -> None:
        self._listed = listed
        self._rows = rows
        self._owner = owner
        self._lister = Lister(listed)

    async def page(
        self,
        db: Statements,
        wanted: Sorted,
        owner: UUID | None,
        among: Sequence[UUID] | None = None,
        equal: Mapping[str, str | None] | None = None,
    ) -> Page:
        """Return a page, of one `owner` where it is given, of owners `among`, whose fields are `equal` to what is not None.

        Raises HubError as lists do.
        """
        equal = equal or {}
        asking = Asking(self._listed, wanted, (owner, *equal.values()))
        asking.table = f"({self._rows}) AS listed"
        if owner is not None:
            asking.require(f"{self._owner} = {asking.bind(owner)}")
        if among is not None:
            asking.require(f"{self._owner} = ANY ({asking.bind(list(among))}::uuid[])")
        for name, value in equal.items():
            asking.require_equal(name, value)
        return await self._lister.asked(db, wanted, asking)
