"""What a handler is given: who calls, the database, and a place for its events."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from core.auth.caller import Caller
from core.store.statements import Statements


class Context(Protocol):
    """Frozen; made by the runner for one run of one operation."""

    @property
    def caller(self) -> Caller:
        """Who calls."""
        ...

    @property
    def request_id(self) -> str:
        """The request's id, as the caller was told."""
        ...

    @property
    def now(self) -> datetime:
        """The moment of this run (UTC); every time that the run writes is this one."""
        ...

    @property
    def deadline(self) -> float:
        """Monotonic seconds at which the caller stops waiting."""
        ...

    @property
    def db(self) -> Statements:
        """The open transaction, or for a read operation statements by themselves; RuntimeError where there is neither."""
        ...

    async def look_up(self, query: str, id: UUID) -> Any:
        """Return the row of `id`, None where there is none; where `db` is in a transaction, as that sees it.

        `$1` of `query` is an array of ids, and the first column is the id: reads of one moment share a statement.
        """
        ...

    async def write(self, query: str, *args: object) -> None:
        """Run a statement in the open transaction, of which no answer is needed: it may wait for the next, or for the commit.

        What refuses must not depend on it. `query` is one statement; where it has a WITH it begins so, and the bracket that ends
        the list has a line of its own.
        """
        ...

    def transaction(self) -> AbstractAsyncContextManager[Statements]:
        """Open one step's transaction; only for operations with `transaction="none"`."""
        ...

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` called once the transaction is committed; not at all where it is not. RuntimeError outside a transaction.

        For waking who waits for what was written: it takes no time, and does not fail.
        """
        ...

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
        """Collect an event for the log; it is written with the transaction. Returns its id.

        `data` is JSON text; `short` replaces it in what travels when the envelope is over 32 KiB. Where nothing else is said, the
        id is a new one, the time (UTC) that of the run, and the channel the subject's. RuntimeError outside a transaction.
        Whoever emits for a subject holds its row.
        """
        ...
