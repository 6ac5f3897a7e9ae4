"""PostgreSQL as the hub uses it: an own small pool whose connections speak for one organisation at a time.

Why not asyncpg's pool: its reset query is a round trip for each use, and it cannot prefer the connection that already speaks for
the right organisation (docs/architecture.md, "PostgreSQL"). A connection logs in with a role as its connection-time setting, so
RESET ROLE leads back to that role. Row-level security reads `hub.org_id`; where it is unset there are no rows.

The organisation is set before BEGIN, in the same round trip, and only when it changes. After a rollback, an error or a cancellation
the remembered organisation is forgotten; a connection whose statement was cancelled is closed, since what it was doing is unknown.
"""

import asyncio
import contextlib
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from uuid import UUID

import asyncpg
import structlog

from core.errors import HubError
from core.fair import FairQueue
from core.store.joined import Joined
from core.store.statements import Statements
from core.watch import WATCHED, Given, Timed

# As many as keep two to four cores of PostgreSQL busy while some of them wait for a commit.
POOL_SIZE = 20
ACQUIRE_SECONDS = 5.0
CONNECT_SECONDS = 5
# Every session of the hub: a transaction that idles or a lock that is waited for too long is ended by the server itself.
SESSION = {
    "search_path": "hub,public",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "jit": "off",
    "application_name": "aimatrix-hub",
}
_UNREACHABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    # After a failover this is a session with the server that was the first before: the next one may reach the new first.
    asyncpg.ReadOnlySQLTransactionError,
    # Between a server's last words and the end of its connection asyncpg refuses a query with this, not as a closed connection.
    asyncpg.InternalClientError,
    OSError,
)

Connection = asyncpg.Connection
# What `refusal_of` knows no refusal for: a mistake in a statement, or data that PostgreSQL cannot work with.
StatementError = asyncpg.PostgresError
# A row that no partition holds; and one that belongs to another which is not there, or not any more.
NoPartition = asyncpg.CheckViolationError
NoOwner = asyncpg.ForeignKeyViolationError


async def connect_as(url: str, role: str | None, **settings: str) -> Connection:
    """Open one connection outside the pool; `settings` go over those of SESSION. The caller closes it."""
    wanted = {**SESSION, **settings}
    if role is not None:
        wanted["role"] = role
    return await asyncpg.connect(url, server_settings=wanted, timeout=CONNECT_SECONDS, command_timeout=None)


def unavailable() -> HubError:
    """Return the refusal of a request that needs a PostgreSQL which does not answer."""
    return HubError("SERVICE_UNAVAILABLE", "The database is not available for the moment", retry_after=1)


def refusal_of(error: BaseException) -> HubError | None:
    """Return the refusal that asyncpg's `error` means when PostgreSQL is away or gives up; None for any other error."""
    match error:
        case TimeoutError():
            # A subclass of OSError, but the caller's own deadline: connecting too long is told apart where it happens.
            return None
        case asyncpg.QueryCanceledError():
            return HubError("TIMEOUT")
        case asyncpg.LockNotAvailableError():
            return HubError("RESOURCE_LOCKED", retry_after=1)
        case asyncpg.InterfaceError():
            # asyncpg has no class of its own for a connection that was found closed.
            return unavailable() if "closed" in str(error) else None
        case _ if isinstance(error, (*_UNREACHABLE, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)):
            return unavailable()
        case asyncpg.InsufficientResourcesError() | asyncpg.PostgresSystemError():
            # A disk or memory that is full, a disk that fails: the caller may come again, who runs the hub must hear of it.
            structlog.get_logger().error("database_has_no_room", error=type(error).__name__, detail=str(error))
            return unavailable()
        case _:
            return None


@contextmanager
def reachable() -> Generator[None]:
    """Raise the refusal that an error of asyncpg means."""
    try:
        yield
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        raise refusal from error


@dataclass(eq=False, slots=True)
class _Slot:
    """A connection of the pool and the organisation that it speaks for."""

    connection: Connection
    org_id: UUID | None = None


class _Use:
    """A connection in use, as a context manager: a class, since a generator costs more than the rest of it (hot path)."""

    __slots__ = ("_pool", "org_id", "slot")

    def __init__(self, pool: "Database", org_id: UUID | None) -> None:
        self._pool = pool
        self.org_id = org_id

    async def begin(self, slot: _Slot) -> None:
        """Make the session speak for the organisation."""
        if self.org_id is not None and slot.org_id != self.org_id:
            await slot.connection.execute(_speak_for(self.org_id))
            slot.org_id = self.org_id

    async def end(self, slot: _Slot) -> None:
        """Leave the session as it is."""

    async def fail(self, slot: _Slot) -> None:
        """Bring the session into a known state after an error that it survived."""

    async def __aenter__(self) -> Statements:
        try:
            self.slot = await self._pool.acquire(self.org_id)
            try:
                await self.begin(self.slot)
            except BaseException as error:
                await self._failed(error)
                raise
        except Exception as error:
            self._refuse(error)
            raise
        return self.slot.connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                await self.end(self.slot)
            except BaseException as failed:
                await self._failed(failed)
                self._refuse(failed)
                raise
            self._pool.release(self.slot)
            return
        await self._failed(error)
        self._refuse(error)

    async def _failed(self, error: BaseException) -> None:
        slot = self.slot
        slot.org_id = None
        try:
            # Only a refusal or an error that PostgreSQL itself reported leaves the session in a known state.
            if not isinstance(error, Exception) or isinstance(error, _UNREACHABLE):
                slot.connection.terminate()
            elif not slot.connection.is_closed():
                await self.fail(slot)
        finally:
            self._pool.release(slot)

    def _refuse(self, error: BaseException) -> None:
        refusal = refusal_of(error)
        if refusal is not None:
            raise refusal from error


class _Transaction(_Use):
    """A connection in a transaction."""

    __slots__ = ()

    async def begin(self, slot: _Slot) -> None:
        assert self.org_id is not None  # noqa: S101 - a transaction is always somebody's
        begin = "BEGIN" if slot.org_id == self.org_id else f"{_speak_for(self.org_id)}; BEGIN"
        # What BEGIN follows in the same message is rolled back with it.
        slot.org_id = None
        await slot.connection.execute(begin)

    async def end(self, slot: _Slot) -> None:
        await slot.connection.execute("COMMIT")
        slot.org_id = self.org_id

    async def fail(self, slot: _Slot) -> None:
        try:
            await slot.connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            slot.connection.terminate()
        except asyncio.CancelledError:
            slot.connection.terminate()
            raise


class _Joined(AbstractAsyncContextManager[Joined]):
    """A connection whose transaction begins when it must."""

    __slots__ = ("_joined", "_use")

    def __init__(self, pool: "Database", org_id: UUID, patience: float | None) -> None:
        self._use = _JoinedUse(pool, org_id)
        self._use.patience = patience

    async def __aenter__(self) -> Joined:
        await self._use.__aenter__()
        return self._use.joined

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._use.__aexit__(kind, error, trace)


class _JoinedUse(_Transaction):
    __slots__ = ("joined", "patience")

    async def begin(self, slot: _Slot) -> None:
        assert self.org_id is not None  # noqa: S101 - a transaction is always somebody's
        opening = "" if slot.org_id == self.org_id else _speak_for(self.org_id)
        self.joined = Joined(slot.connection, opening, self.patience)
        slot.org_id = None

    async def end(self, slot: _Slot) -> None:
        await self.joined.end()
        slot.org_id = self.org_id

    async def fail(self, slot: _Slot) -> None:
        if self.joined.has_begun:
            await super().fail(slot)


class Database:
    """The pool. `role` is taken by every connection as its connection-time role; None keeps the login itself."""

    def __init__(self, url: str, *, role: str | None, size: int = POOL_SIZE) -> None:
        self._url = url
        self._role = role
        self._size = size
        self._free: list[_Slot] = []
        self._count = 0
        self._waiters = FairQueue[UUID | None, "asyncio.Future[_Slot | None]"]()  # organisations by turns
        self._closed = False
        self._log = structlog.get_logger()

    @property
    def in_use(self) -> int:
        """How many connections are in use."""
        return self._count - len(self._free)

    @property
    def free(self) -> int:
        """How many connections are open and idle."""
        return len(self._free)

    @property
    def waiting(self) -> int:
        """How many wait for a connection."""
        return sum(not waiter.done() for waiter in self._waiters)

    async def open(self) -> None:
        """Connect once, so that a wrong address shows at start."""
        with reachable():
            self.release(await self.acquire(None))

    async def close(self) -> None:
        """Close the free connections; those in use are closed when they come back."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(unavailable())
        while self._free:
            slot = self._free.pop()
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await slot.connection.close(timeout=2)

    def read(self, org_id: UUID) -> AbstractAsyncContextManager[Statements]:
        """Give statements by themselves (autocommit) for one organisation."""
        return self._watched(_Use(self, org_id))

    def transaction(self, org_id: UUID) -> AbstractAsyncContextManager[Statements]:
        """Give one READ COMMITTED transaction for one organisation: committed at the end, rolled back on any error."""
        return self._watched(_Transaction(self, org_id))

    def joined(self, org_id: UUID, *, patience: float | None = None) -> AbstractAsyncContextManager[Joined]:
        """Give the same, of which what nobody asks the answer of goes together (core/store/joined.py).

        Where one of several statements waits for a lock for more than `patience` seconds, it raises HubError RESOURCE_LOCKED.
        """
        return self._watched(_Joined(self, org_id, patience))

    def unbound(self) -> AbstractAsyncContextManager[Statements]:
        """Give statements by themselves that depend on no organisation: look-ups through SECURITY DEFINER functions."""
        return _Use(self, None)

    async def acquire(self, org_id: UUID | None) -> _Slot:
        """Take a connection, one that speaks for `org_id` if there is one. Whoever takes it gives it back by release()."""
        if self._closed:
            raise unavailable()
        while self._free:
            slot = self._take_free(org_id)
            if not slot.connection.is_closed():
                return slot
            self._count -= 1
        if self._count < self._size:
            return await self._connect()
        return await self._wait(org_id)

    def release(self, slot: _Slot) -> None:
        """Give a connection back: to who waits longest, else to the free ones."""
        if self._closed:
            slot.connection.terminate()
        if slot.connection.is_closed():
            self._count -= 1
            self._wake_one(None)
        elif not self._wake_one(slot):
            self._free.append(slot)

    def _watched(self, use: AbstractAsyncContextManager[Given]) -> AbstractAsyncContextManager[Given]:
        watch = WATCHED.get()
        return use if watch is None else Timed(watch, "sql", use)

    def _take_free(self, org_id: UUID | None) -> _Slot:
        """Take the latest used connection, or one that speaks for `org_id` already."""
        free = self._free
        for index in range(len(free) - 1, -1, -1):
            if free[index].org_id == org_id:
                return free.pop(index)
        return free.pop()

    async def _connect(self) -> _Slot:
        self._count += 1
        try:
            return _Slot(await connect_as(self._url, self._role))
        except BaseException as error:
            self._count -= 1
            self._wake_one(None)
            if isinstance(error, TimeoutError):
                raise unavailable() from error
            raise

    async def _wait(self, org_id: UUID | None) -> _Slot:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[_Slot | None] = loop.create_future()
        self._waiters.push(org_id, waiter)
        # A timer is cheaper than asyncio.timeout(), and under load nearly every use waits.
        timer = loop.call_later(ACQUIRE_SECONDS, self._give_up, waiter)
        try:
            slot = await waiter
        except asyncio.CancelledError:
            # Cancelled just after it was woken: what it was given goes to the next.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            raise
        finally:
            timer.cancel()
        # A None is leave to connect: the slot that was waited for is gone.
        return slot if slot is not None else await self._connect()

    def _pass_on(self, slot: _Slot | None) -> None:
        if slot is None:
            self._wake_one(None)
        else:
            self.release(slot)

    def _give_up(self, waiter: "asyncio.Future[_Slot | None]") -> None:
        if not waiter.done():
            self._log.warning("database_pool_exhausted", size=self._size, waiting=self.waiting)
            waiter.set_exception(
                HubError("SERVICE_UNAVAILABLE", "The database is too busy for the moment", retry_after=1)
            )

    def _wake_one(self, slot: _Slot | None) -> bool:
        while self._waiters:
            waiter = self._waiters.pop()
            if not waiter.done():
                waiter.set_result(slot)
                return True
        return False


def _speak_for(org_id: UUID) -> str:
    # A UUID's text has only hexadecimal digits and hyphens, so it may stand in a statement; parameters would cost a round trip.
    return f"SELECT set_config('hub.org_id', '{UUID(int=org_id.int)}', false)"
