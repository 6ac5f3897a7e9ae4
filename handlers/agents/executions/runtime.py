"""Doing executions: jobs of the kind agents.run. What an attempt is, who takes over, and how it ends: docs/architecture.md.

take -> tell that it began -> { turn of the model | calls of tools }* -> end, or pause
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import orjson
import structlog

from core.clock import Clock
from core.deadline import end_tasks, ended_within
from core.errors import HubError
from core.jobs.jobs import Jobs
from core.jobs.kind import JobKind, RetryPolicy
from core.jobs.run import JobLost, JobRun
from core.store.database import Database
from core.store.statements import Statements
from handlers.agents.config import config_of
from handlers.agents.executions.beginning import agent_of
from handlers.agents.executions.ending import KIND, Ending, Written, end, told_of
from handlers.agents.executions.models import Options
from handlers.agents.executions.store import SQL, rights_of
from handlers.agents.executions.telling import Telling
from handlers.agents.executions.work import Paused, Work, Worked
from handlers.agents.models import AgentBody
from handlers.agents.tools.toolbox import Toolboxes
from handlers.lasting.announcing import Rooms
from handlers.lasting.told import emit
from handlers.models.model import Message, Model
from rooms.fence import Outrun

# Of what is kept with an execution of tools that are not there: servers can have hundreds.
MOST_NOTES = 32
LONGEST_NOTE = 500
# Most of the time they wait for a model.
CONCURRENCY = 320
RETRY = RetryPolicy(attempts=8, first_seconds=0.5, factor=2.0, most_seconds=10.0)


class Models(Protocol):
    """Which models there are (handlers.models.providers.Models)."""

    def named(self, names: Sequence[str]) -> Model:
        """Return the first of these that answers, or the hub's own choice; raises HubError where there is no such model."""
        ...


class History(Protocol):
    """What was said in a session up to a message (handlers.agents.sessions.prompt)."""

    async def __call__(self, db: Statements, session_id: UUID, message_id: UUID) -> list[Message]:
        """Return it; the message comes last."""
        ...


class _Changed(Exception):
    """What a run was to wait for has come."""


class Runtime:
    """Does executions. `poke` wakes the relay, `announce` whoever tells of ends; both after a commit."""

    def __init__(
        self,
        database: Database,
        jobs: Jobs,
        rooms: Rooms,
        models: Models,
        toolboxes: Toolboxes,
        history: History,
        clock: Clock,
        *,
        poke: Callable[[], None],
        announce: Callable[[], None],
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._rooms = rooms
        self._models = models
        self._toolboxes = toolboxes
        self._history = history
        self._clock = clock
        self._poke = poke
        self._announce = announce

    @property
    def kind(self) -> JobKind:
        """The kind of its jobs."""
        return JobKind(KIND, self.run, RETRY, concurrency=CONCURRENCY, most_seconds=2 * 3600.0)

    async def run(self, job: JobRun) -> None:
        """Do one attempt at one execution."""
        taken = await self._take(job)
        if taken is None:  # it has ended, or waits for somebody
            return
        row, agent, conversation, steps = taken
        self._poke()
        try:
            await self._attempt(job, row, agent, conversation, steps)
        except Outrun:
            structlog.get_logger().info("run_outrun", execution=str(row["id"]), attempt=row["attempt"])
        except JobLost:
            pass

    async def _take(self, job: JobRun) -> tuple[Any, AgentBody | None, list[Message], list[Any]] | None:
        now = self._clock.now()
        async with job.transaction() as db:
            row = await db.fetchrow(SQL["take"], UUID(job.payload["execution"]), now)
            if row is None:
                return None
            steps = await db.fetch(SQL["steps"], row["id"])
            agent = await agent_of(db, row["agent_id"])
            conversation = [Message("user", row["query"])]
            if row["session_id"] is not None:
                conversation = await self._history(db, row["session_id"], row["message_id"]) or conversation
            if row["attempt"] == 1:
                await emit(db, row["org_id"], [told_of(row, "started")], now)
        return row, agent, conversation, steps

    async def _attempt(
        self, job: JobRun, row: Any, agent: AgentBody | None, conversation: list[Message], steps: list[Any]
    ) -> None:
        telling = Telling(self._rooms, self._database, self._clock, row)
        speaking = asyncio.create_task(self._speak(job, row, agent, conversation, steps, telling))
        saying = asyncio.create_task(telling.run(*_begun(row)))
        left = (row["deadline_at"] - self._clock.now()) / timedelta(seconds=1)
        try:
            if not await ended_within(self._clock, max(0.0, left), speaking, saying):
                await end_tasks([speaking])
                await self._end(job, row, telling, "failed", error=("TIMEOUT", "It took longer than it may"))
                return
            for task in (saying, speaking):  # an attempt that is outrun has nothing more to say
                if task.done():
                    await task
        finally:
            await end_tasks([speaking, saying])

    async def _speak(
        self,
        job: JobRun,
        row: Any,
        agent: AgentBody | None,
        conversation: list[Message],
        steps: list[Any],
        telling: Telling,
    ) -> None:
        try:
            worked = await self._work(job, row, agent, conversation, steps, telling)
        except HubError as error:
            if error.code == "SERVICE_UNAVAILABLE":  # PostgreSQL is away: another attempt goes on
                raise
            await self._end(job, row, telling, "failed", error=(error.code, error.text))
            return
        if isinstance(worked, Worked):
            await self._end(job, row, telling, "completed", worked=worked)

    async def _work(
        self,
        job: JobRun,
        row: Any,
        agent: AgentBody | None,
        conversation: list[Message],
        steps: list[Any],
        telling: Telling,
    ) -> Worked | Paused:
        if agent is None:
            raise HubError("RESOURCE_NOT_FOUND", "The agent was deleted")
        options = Options.model_validate_json(row["options"])
        config = options.applied_to(config_of(agent))
        model = self._models.named(config.models if options.model is None else [options.model])
        async with self._toolboxes.open(row["agent_id"], agent, config, rights_of(row), options.tools) as toolbox:
            await self._note(job, row, toolbox.notes)
            work = Work(job, row, agent, config, model, toolbox, conversation, telling, self._clock, self._poke)
            while True:
                worked = await work.go_on(steps)
                if not isinstance(worked, Paused) or await self._pause(job, row, telling, worked):
                    return worked
                # A delegate has ended meanwhile: whoever ended it found this job running still.
                async with self._database.read(row["org_id"]) as db:
                    steps = await db.fetch(SQL["steps"], row["id"])

    async def _note(self, job: JobRun, row: Any, notes: Sequence[str]) -> None:
        """Keep why tools are not there; raises Outrun."""
        kept = orjson.dumps([each.replace("\x00", "")[:LONGEST_NOTE] for each in notes[:MOST_NOTES]]).decode()
        if kept == row["notes"]:
            return
        async with job.transaction() as db:
            if await db.fetchrow(SQL["note"], row["id"], row["attempt"], kept) is None:
                raise Outrun

    async def _pause(self, job: JobRun, row: Any, telling: Telling, paused: Paused) -> bool:
        """Let others go on: the caller with what it is asked for, a delegate with its own run. False: one of them has ended."""
        await telling.flush()
        action = None if not paused.calls else orjson.dumps({"calls": paused.calls}).decode()
        status = "running" if action is None else "requires_action"
        now = self._clock.now()
        said = (telling.text, telling.sequence, telling.places, orjson.dumps(paused.usage).decode())
        try:
            await self._wait_for(job, row, status, action, said, paused, now)
        except _Changed:
            return False
        self._jobs.poke()
        self._announce()
        return True

    async def _wait_for(
        self,
        job: JobRun,
        row: Any,
        status: str,
        action: str | None,
        said: tuple[Any, ...],
        paused: Paused,
        now: datetime,
    ) -> None:
        async with job.finishing() as db:
            waiting = frozenset(each["ordinal"] for each in await db.fetch(SQL["waiting"], row["id"]))
            if waiting != paused.waiting:
                raise _Changed
            if await db.fetchrow(SQL["pause"], row["id"], row["attempt"], status, action, *said) is None:
                raise Outrun
            for delegation in paused.delegations:
                await delegation.begin(db, self._jobs, row, now)

    async def _end(
        self,
        job: JobRun,
        row: Any,
        telling: Telling,
        status: Ending,
        *,
        worked: Worked | None = None,
        error: tuple[str, str] | None = None,
    ) -> None:
        await telling.flush()
        now = self._clock.now()
        written = Written(telling.text, telling.sequence, places=telling.places)
        if worked is not None:
            written = replace(written, citations=worked.citations, usage=worked.usage, output=worked.output)
        async with job.finishing() as db:
            held = await db.fetchrow(SQL["hold"], row["id"])
            if held is None or held["attempt"] != row["attempt"] or held["status"] != "running":
                raise Outrun
            ended = await end(db, self._jobs, held, status, now, written=written, error=error)
            await emit(db, row["org_id"], [ended.told], now)
        self._poke()
        self._jobs.poke()
        self._announce()


def _begun(row: Any) -> tuple[str, dict[str, str | None]]:
    """Return how it is told that an attempt has begun."""
    restarted = "run.resumed" if row["was_paused"] else "run.restarted"
    began = {name: _text(row[name]) for name in ("agent_id", "session_id", "message_id")}
    return "run.started" if row["attempt"] == 1 else restarted, began


def _text(id: UUID | None) -> str | None:
    return None if id is None else str(id)
