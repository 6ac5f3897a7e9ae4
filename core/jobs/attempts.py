"""Carrying out one attempt: the handler's task, why it was ended, and what is then written of it.

completed   the handler returned, or ended the job itself
retried     it failed, and may be tried again later
failed      it failed for good: JobFailed, or its last attempt
cancelled   somebody asked for its end
released    the worker drains: it goes back, and that was no attempt
lost        another has it; nothing is written
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import orjson
import structlog

from core.clock import Clock
from core.deadline import end_tasks, ended_within
from core.errors import HubError
from core.jobs.jobs import SQL
from core.jobs.kind import JobFailed, JobKind
from core.jobs.run import JobLost, JobRun
from core.store.database import Database

Ending = Literal["cancelled", "lost", "released", "too long"]
# While PostgreSQL is away an end is tried again so often; then the job's lease ends, and it is done again.
SETTLE_TRIES = 30
SETTLE_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class Attempt:
    """One attempt under way; `ending` is why its task was cancelled."""

    kind: JobKind
    run: JobRun
    owner: UUID
    failures: int  # this one counted
    may_retry: bool
    ending: Ending | None = None
    work: asyncio.Task[str] = field(init=False)

    def __post_init__(self) -> None:
        self.work = asyncio.create_task(_result_of(self), name=f"job {self.kind.name}")

    def end(self, why: Ending) -> None:
        """Cancel the handler. Said again, it is cancelled again: one that came in a bad moment can get lost."""
        self.ending = self.ending or why
        self.work.cancel()


class Attempts:
    """Carries attempts out. `ended` counts them by kind and outcome."""

    def __init__(self, system: Database, clock: Clock, rng: random.Random) -> None:
        self._system = system
        self._clock = clock
        self._rng = rng
        self.ended: Counter[tuple[str, str]] = Counter()
        self._log = structlog.get_logger()

    async def carry_out(self, attempt: Attempt) -> None:
        """Wait for the handler's end, and write how it ended."""
        try:
            if not await ended_within(self._clock, attempt.kind.most_seconds, attempt.work):
                attempt.ending = attempt.ending or "too long"
        finally:
            await end_tasks([attempt.work])
        outcome = await self._settle(attempt)
        self.ended[attempt.kind.name, outcome] += 1

    async def _settle(self, attempt: Attempt) -> str:
        outcome, query, args = self._verdict(attempt)
        if query is None:
            return outcome
        # A worker that drains does not wait for PostgreSQL: its session's end gives the job back too.
        for _ in range(1 if attempt.ending == "released" else SETTLE_TRIES):
            try:
                async with self._system.unbound() as db:
                    is_ours = await db.fetchval(query, attempt.run.id, attempt.run.attempt, *args)
            except HubError:
                await self._clock.sleep(SETTLE_SECONDS)
            else:
                return outcome if is_ours else "lost"
        self._log.warning("job_end_not_written", job=str(attempt.run.id), kind=attempt.kind.name, outcome=outcome)
        return "lost"

    def _verdict(self, attempt: Attempt) -> tuple[str, str | None, tuple[object, ...]]:
        """Return what an attempt has come to, and the statement that says so."""
        now = self._clock.now()
        if attempt.run.is_finished:
            return "completed", None, ()
        if attempt.work.cancelled() or not attempt.work.done():
            match attempt.ending:
                case "cancelled":
                    return "cancelled", SQL["fail"], (None, now, "cancelled")
                case "lost":
                    return "lost", None, ()
                case "too long":
                    return self._failure(attempt, _error("TIMEOUT", "It took too long"))
                case "released":
                    return "released", SQL["release"], (now,)
                case None:
                    return self._failure(attempt, _error("INTERNAL_ERROR", "It was cancelled from within"))
        error = attempt.work.exception()
        if error is None:
            return "completed", SQL["complete"], (attempt.work.result(), now)
        if isinstance(error, JobLost):
            return "lost", None, ()
        return self._failure(attempt, self._told(attempt, error), is_final=isinstance(error, JobFailed))

    def _failure(self, attempt: Attempt, error: str, *, is_final: bool = False) -> tuple[str, str, tuple[object, ...]]:
        now = self._clock.now()
        if is_final or not attempt.may_retry:
            return "failed", SQL["fail"], (error, now, "failed")
        wait = attempt.kind.retry.wait_after(attempt.failures, self._rng)
        return "retried", SQL["retry"], (error, now + timedelta(seconds=wait), now)

    def _told(self, attempt: Attempt, error: BaseException) -> str:
        """Return what the organisation may read of an error; the text of one that nobody raised for it may carry a secret."""
        if isinstance(error, HubError):
            return _error(error.code, error.text)
        if isinstance(error, JobFailed):
            return _error("JOB_FAILED", str(error))
        self._log.error(
            "job_raised", job=str(attempt.run.id), kind=attempt.kind.name, attempt=attempt.run.attempt, exc_info=error
        )
        return _error("INTERNAL_ERROR", "")


async def _result_of(attempt: Attempt) -> str:
    result: Any = await attempt.kind.handler(attempt.run)
    return orjson.dumps(result).decode()


def _error(code: str, message: str) -> str:
    return orjson.dumps({"code": code, "message": message}).decode()
