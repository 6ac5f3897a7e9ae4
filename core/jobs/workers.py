"""The workers of one process: they claim due jobs, beat their leases, take over what others have left, and drain.

The process has one session, which holds an advisory lock under the worker's number: where that lock is gone, the worker is dead,
and any other takes its jobs at its next look, long before their leases end. (Not pg_stat_activity: the pid of a backend is given
again; and what a lock says, PostgreSQL itself keeps true.) A worker that stands still keeps its lock, so there the lease decides.
Either way an attempt that was taken over writes nothing more: its number is in every write.

When the session is lost, the jobs go on and the next session takes the same number; what others took meanwhile is found lost at the
first beat. When PostgreSQL itself goes and comes, all sessions are lost at once: whoever is back first gives the others a moment.
"""

import asyncio
import random
import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from core.clock import Clock
from core.deadline import ended_within
from core.jobs.attempts import Attempt, Attempts
from core.jobs.jobs import SQL
from core.jobs.kind import JobKind, by_name
from core.jobs.run import JobRun
from core.jobs.schedules import Schedule, Schedules
from core.jobs.turns import Turns
from core.store.database import Connection, Database, connect_as
from core.store.session import DATABASE_AWAY, close_session

LOCK_CLASS = 0x6A6F6273  # 'jobs': the workers' own space of advisory locks
POLL_SECONDS = 1.0
BEATS_A_LEASE = 5
# A session is so old before it takes anybody for dead: after an outage the others are back by then.
RETURN_SECONDS = 3.0
_LOST = '{"code":"WORKER_LOST","message":"The worker was lost"}'
_SESSION = {
    "application_name": "aimatrix-hub jobs",
    # A table that is empty when a statement is planned must not decide how a full one is read.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
}


class Workers:
    """Does jobs of `kinds`, and makes those of `schedules`. `run()` works until cancelled; `drain()` before.

    Handlers work on `app`, a pool of hub_app; ends and progress are written by `system`, one of hub_system. The caller closes both.
    """

    def __init__(
        self,
        url: str,
        app: Database,
        system: Database,
        kinds: Iterable[JobKind],
        clock: Clock,
        *,
        schedules: Sequence[Schedule] = (),
        rng: random.Random | None = None,
    ) -> None:
        self._url = url
        self._app = app
        self._system = system
        self._kinds = by_name(kinds)
        self._turns = {name: Turns(kind) for name, kind in self._kinds.items()}
        self._clock = clock
        self._schedules = Schedules(schedules, clock)
        self._attempts = Attempts(self._system, clock, rng or random.Random())  # noqa: S311 - jitter is no secret
        self._beat_seconds = min(kind.lease_seconds for kind in self._kinds.values()) / BEATS_A_LEASE
        self._number = secrets.randbits(31)
        self._held: dict[UUID, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._draining = False
        self._has_session = False
        self._judges_from = 0.0
        self._log = structlog.get_logger()

    @property
    def ended(self) -> dict[tuple[str, str], int]:
        """How many attempts have ended in this process, by kind and outcome (core/jobs/attempts.py)."""
        return dict(self._attempts.ended)

    @property
    def running(self) -> int:
        """How many attempts are under way here."""
        return len(self._held)

    @property
    def holds_all(self) -> bool:
        """Whether a new job finds a place here, so that nobody else needs a poke."""
        return self._has_session and not self._draining and len(self._open_kinds()) == len(self._kinds)

    def poke(self) -> None:
        """Wake the workers: a job was committed. Costs next to nothing."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; reconnects for as long as PostgreSQL is away. Cancelled, it gives back what it has."""
        try:
            while True:
                try:
                    await self._serve_session()
                except DATABASE_AWAY as error:
                    self._log.warning("jobs_session_lost", error=type(error).__name__, detail=str(error)[:200])
                    await self._clock.sleep(POLL_SECONDS)
        finally:
            await self.drain(0)

    async def drain(self, seconds: float) -> None:
        """Claim no more, let what runs end for so long, then give it back: that counts as no attempt. Again, it does nothing."""
        self._draining = True
        if self._tasks and seconds > 0:
            ending = asyncio.ensure_future(asyncio.wait(tuple(self._tasks)))
            await ended_within(self._clock, seconds, ending)
            ending.cancel()
        for attempt in tuple(self._held.values()):
            attempt.end("released")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve_session(self) -> None:
        connection = await connect_as(self._url, "hub_system", **_SESSION)
        try:
            while not await connection.fetchval(SQL["lock"], LOCK_CLASS, self._number):
                # Another has it, or PostgreSQL has not noticed yet that our last session is gone.
                if not self._held:
                    self._number = secrets.randbits(31)
                await self._clock.sleep(POLL_SECONDS / 4)
            await self._schedules.declare(connection)
            self._has_session = True
            self._judges_from = self._clock.monotonic() + RETURN_SECONDS
            await self._work(connection)
        finally:
            self._has_session = False
            await close_session(connection)

    async def _work(self, connection: Connection) -> None:
        next_beat = 0.0
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            if self._held and now >= next_beat:
                await self._beat(connection)
                next_beat = now + self._beat_seconds
            await self._tend(connection)
            wait = POLL_SECONDS if self._draining else await self._claim_due(connection)
            await self._wait(wait)

    async def _wait(self, seconds: float) -> None:
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await ended_within(self._clock, seconds, waking)
        finally:
            waking.cancel()

    async def _claim_due(self, connection: Connection) -> float:
        """Start what is due and has a place; return how long there is nothing to do, at most a poll."""
        await self._schedules.fire(connection)
        rows = await connection.fetch(SQL["look"], self._open_kinds())
        now = self._clock.now()
        wait = POLL_SECONDS
        for row in rows:
            if row["due"] is None:
                continue
            if row["due"] <= now:
                await self._claim(connection, self._kinds[row["kind"]])
            else:
                wait = min(wait, (row["due"] - now) / timedelta(seconds=1))
        return wait

    async def _claim(self, connection: Connection, kind: JobKind) -> None:
        held = [attempt.owner for attempt in self._held.values() if attempt.kind is kind]
        rows = await self._turns[kind.name].claim(connection, self._number, self._clock.now(), held)
        for row in rows:
            failures = row["attempt"] - row["released"]
            run = JobRun(row, kind.lease_seconds, self._app, self._system, self._clock)
            attempt = Attempt(kind, run, row["owner"], failures, may_retry=failures < row["max_attempts"])
            if run.id in self._held:
                self._held[run.id].end("lost")  # our own lease had ended
            self._held[run.id] = attempt
            task = asyncio.create_task(self._carry_out(attempt))
            self._tasks.add(task)
            task.add_done_callback(self._left)
            if self._draining:  # it began while this claim was under way
                attempt.end("released")

    async def _carry_out(self, attempt: Attempt) -> None:
        try:
            await self._attempts.carry_out(attempt)
        finally:
            if self._held.get(attempt.run.id) is attempt:
                del self._held[attempt.run.id]
            # There is a place free.
            self._wake.set()

    def _left(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug of ours, not of a handler: the job's lease ends, and it is done again.
            self._log.error("job_not_settled", exc_info=error)

    async def _beat(self, connection: Connection) -> None:
        held = list(self._held.items())
        rows = await connection.fetch(
            SQL["beat"],
            [id for id, _ in held],
            [attempt.run.attempt for _, attempt in held],
            [attempt.kind.lease_seconds for _, attempt in held],
            self._number,
        )
        ours = {row["id"] for row in rows}
        for id, attempt in held:
            if id not in ours and not attempt.work.done():
                attempt.end("lost")

    async def _tend(self, connection: Connection) -> None:
        """End what was cancelled here, and put back what the dead and the stopped have left."""
        (strays,) = await connection.fetch(SQL["strays"], self._number)
        for id in strays["cancelled"]:
            attempt = self._held.get(id)
            if attempt is not None and not attempt.work.done():
                attempt.end("cancelled")
        if strays["others"]:
            judges = self._clock.monotonic() >= self._judges_from
            for row in await connection.fetch(SQL["reap"], LOCK_CLASS, self._clock.now(), _LOST, judges):
                self._log.warning("job_taken_back", job=str(row["id"]), kind=row["kind"], status=row["status"])

    def _open_kinds(self) -> list[str]:
        """Return the kinds that have a place free."""
        full = [attempt.kind.name for attempt in self._held.values()]
        return [name for name, kind in self._kinds.items() if full.count(name) < kind.concurrency]
