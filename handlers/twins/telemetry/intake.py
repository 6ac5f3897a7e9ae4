"""Where points come in, by whichever door: what comes while a write is under way goes together in the next one.

    take() ... take()   -> one transaction an organisation -> each is answered -> the rooms are told

Alone a point waits for nothing but its own write. The answer means that it is stored; the rooms hear of it right after.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from core.clock import Clock
from core.errors import Detail, HubError
from core.pressure import Calm, Part, Pressed
from core.store.database import Database, NoOwner, NoPartition, StatementError
from handlers.twins.telemetry.models import Point
from handlers.twins.telemetry.storing import SQL, Measured, NoSuchTwins, Written, deduplicated, store
from rooms.tasks import Tasks

# Of one write: some hundred milliseconds of PostgreSQL.
POINTS_AT_ONCE = 20_000
# Of one organisation on one node. Beyond, who sends is told to come again.
POINTS_WAITING = 100_000
FUTURE = timedelta(minutes=5)
MOST_DETAILS = 100


class Tells(Protocol):
    """Tells rooms (handlers/twins/telemetry/telling.py)."""

    def note(self, org_id: UUID, points: Sequence[Measured]) -> None:
        """Tell of points that are stored."""
        ...


@dataclass(slots=True, eq=False)
class _Submission:
    """Points that go together or not at all, and who waits for them."""

    points: Sequence[Measured]
    stored: "asyncio.Future[None]"

    def fail(self, error: Exception) -> None:
        if not self.stored.done():
            self.stored.set_exception(error)


@dataclass(slots=True)
class _Queue:
    """What waits of one organisation."""

    submissions: deque[_Submission] = field(default_factory=deque["_Submission"])
    points: int = 0

    def taken(self) -> list[_Submission]:
        """Take what goes together: at least one submission."""
        some: list[_Submission] = []
        size = 0
        while self.submissions and (not some or size + len(self.submissions[0].points) <= POINTS_AT_ONCE):
            some.append(self.submissions.popleft())
            size += len(some[-1].points)
        self.points -= size
        return some


class Intake:
    """One of a node. `days` is how long points are kept: older ones are not taken. `poke` wakes the relay after events.

    Under `pressure` points are refused as publishes are, whatever door they come by.
    """

    def __init__(
        self,
        database: Database,
        telling: Tells,
        clock: Clock,
        poke: Callable[[], None],
        *,
        days: int,
        pressure: Pressed | None = None,
    ) -> None:
        self._database = database
        self._telling = telling
        self._clock = clock
        self._poke = poke
        self._pressure = pressure or Calm()
        self._oldest = timedelta(days=days)
        self._tasks = Tasks()
        self._queues: dict[UUID, _Queue] = {}

    def dated(self, points: Sequence[Point]) -> list[datetime]:
        """Return when each was measured; raises HubError VALIDATION_ERROR for those of the future or of the distant past."""
        now = self._clock.now()
        earliest, latest = now - self._oldest, now + FUTURE
        times = [now if point.time is None else point.time for point in points]
        late = [at for at, time in enumerate(times) if not earliest <= time <= latest]
        if late:
            message = (
                f"A time at most 5 minutes ahead, and at most {self._oldest.days} days back: older points are not kept"
            )
            details = [Detail(f"points[{at}].time", "VALUE_OUT_OF_RANGE", message) for at in late[:MOST_DETAILS]]
            raise HubError("VALIDATION_ERROR", details=details)
        return times

    async def take(self, org_id: UUID, points: Sequence[Measured]) -> None:
        """Return when all of the points are stored; otherwise none is.

        Raises NoSuchTwins; HubError VALIDATION_ERROR where a twin would have too many metrics; SERVICE_UNAVAILABLE where the node
        has too much to do; SERVICE_UNAVAILABLE, TIMEOUT and RESOURCE_LOCKED where PostgreSQL does not answer: whether they are
        stored is unknown then.
        """
        self._pressure.check(Part.PUBLISHES)
        queue = self._queues.get(org_id)
        if queue is None:
            queue = self._queues[org_id] = _Queue()
            # Begins in the next turn of the loop.
            self._tasks.spawn(self._work(org_id, queue)).add_done_callback(lambda _: self._let_go(queue))
        if queue.points >= POINTS_WAITING:
            raise HubError("SERVICE_UNAVAILABLE", "Too many points wait to be stored", retry_after=1)
        submission = _Submission(points, asyncio.get_running_loop().create_future())
        queue.submissions.append(submission)
        queue.points += len(points)
        await submission.stored

    async def close(self) -> None:
        """End what is under way; those who wait are refused."""
        await self._tasks.close()

    async def _work(self, org_id: UUID, queue: _Queue) -> None:
        try:
            while queue.submissions:
                await self._store(org_id, queue.taken())
        finally:
            # In the turn in which nothing was left: what comes now has a queue of its own.
            if self._queues.get(org_id) is queue:
                del self._queues[org_id]

    def _let_go(self, queue: _Queue) -> None:
        """Answer those who wait for what was cancelled."""
        while queue.submissions:
            submission = queue.submissions.popleft()
            submission.fail(_ending())

    async def _store(self, org_id: UUID, some: Sequence[_Submission]) -> None:
        """Store submissions together; where one of them is at fault, each by itself."""
        points = deduplicated(point for submission in some for point in submission.points)
        try:
            newest = await self._written(org_id, points)
        except (NoSuchTwins, HubError, StatementError) as error:
            is_own_fault = not isinstance(error, HubError) or error.status < 500
            if len(some) > 1 and is_own_fault:
                for submission in some:
                    await self._store(org_id, [submission])
                return
            for submission in some:
                submission.fail(error)
            return
        except BaseException as ended:
            # Cancelled at the end, or by a bug: nobody waits for ever.
            for submission in some:
                submission.fail(ended if isinstance(ended, Exception) else _ending())
            raise
        for submission in some:
            if not submission.stored.done():  # whoever asked has gone
                submission.stored.set_result(None)
        self._telling.note(org_id, newest)

    async def _written(self, org_id: UUID, points: Sequence[Measured]) -> Sequence[Measured]:
        try:
            written = await self._write(org_id, points)
        except NoPartition:
            async with self._database.transaction(org_id) as db:
                await db.execute(SQL["make_partitions"], list({point.time for point in points}))
            written = await self._write(org_id, points)
        except NoOwner:
            # A twin was deleted after it had been looked for.
            written = await self._write(org_id, points)
        if written.has_events:
            self._poke()
        return written.newest

    async def _write(self, org_id: UUID, points: Sequence[Measured]) -> Written:
        async with self._database.transaction(org_id) as db:
            return await store(db, org_id, points, self._clock.now())


def _ending() -> HubError:
    return HubError("SERVICE_UNAVAILABLE", "The node ends", retry_after=1)
