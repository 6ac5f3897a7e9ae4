"""The context of what the hub changes by itself, in a job: resources become other versions by the way of every change.

There is no caller to ask for scopes, no request and no audit: whoever uses this has decided that it may.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from core.auth.caller import Caller
from core.events import outbox
from core.events.event import NewEvent, new_event
from core.ids import new_id
from core.store.statements import Statements

_TIER = "enterprise"  # no request is counted


@dataclass
class Unattended:
    """A Context within the transaction of `db`: `finish` comes as its end, `committed` after the commit."""

    db: Statements
    org_id: UUID
    now: datetime
    request_id: str
    deadline: float
    caller: Caller = field(init=False)
    _events: list[NewEvent] = field(init=False, default_factory=list[NewEvent])
    _after: list[Callable[[], None]] = field(init=False, default_factory=list[Callable[[], None]])

    def __post_init__(self) -> None:
        """Make the caller: the hub, for all resources of the organisation."""
        self.caller = Caller(self.org_id, "hub", frozenset(), _TIER)

    async def look_up(self, query: str, id: UUID) -> Any:
        """Return the row of `id`, as Context says."""
        return await self.db.fetchrow(query, [id])

    async def write(self, query: str, *args: object) -> None:
        """Run a statement now."""
        await self.db.execute(query, *args)

    def transaction(self) -> AbstractAsyncContextManager[Statements]:
        """Refuse: there is one already."""
        raise RuntimeError("what is unattended has its transaction")

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` called by `committed`."""
        self._after.append(call)

    def emit(
        self,
        type: str,
        subject: str,
        data: str,
        *,
        short: str | None = None,
        id: UUID | None = None,
        time: datetime | None = None,
        channel: str | None = None,
    ) -> UUID:
        """Collect an event, as Context says."""
        event = new_event(
            event_id=id or new_id(),
            type=type,
            subject=subject,
            time=time or self.now,
            data=data,
            short=short,
            channel=channel,
        )
        self._events.append(event)
        return event.id

    async def finish(self) -> None:
        """Write the events, as the last that the transaction does."""
        await outbox.put(self.db, self.org_id, self._events)

    def committed(self) -> None:
        """Call what was to be called after the commit, each once."""
        for call in dict.fromkeys(self._after):
            call()
