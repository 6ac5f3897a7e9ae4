"""Sessions over a real database, below the doors; nobody runs what is begun: the test ends it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import SystemClock
from core.ids import new_id
from core.jobs.jobs import Jobs
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Registry
from core.operations.results import Document
from core.operations.run import Outcome
from core.operations.runner import Runner
from core.settings import Settings
from core.store.database import Database, connect_as
from handlers.agents.executions.beginning import Executions
from handlers.agents.executions.ending import Written, end
from handlers.agents.executions.store import SQL as EXECUTIONS
from handlers.agents.leaving import Leaving
from handlers.agents.operations import Agents
from handlers.agents.sessions.operations import Sessions
from handlers.agents.sessions.prompt import history
from handlers.agents.sessions.sending import Talking
from handlers.agents.sessions.telling import Rooms, Telling
from handlers.models.model import Message
from handlers.models.providers import Models
from rooms.fence import Fence
from rooms.live import Published
from tests.harness.limiters import limiter_without_redis


@dataclass
class Told:
    """What was published into rooms: channel, type, data."""

    events: list[tuple[str, str, Any]] = field(default_factory=list[tuple[str, str, Any]])

    async def publish(
        self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str, fence: Fence | None = None
    ) -> Published:
        self.events.append((channel, type, orjson.loads(data)))
        return Published(new_id(), len(self.events), "e")


@dataclass
class Talk:
    """The operations, with what their rooms were told."""

    url: str
    caller: Caller
    runner: Runner
    database: Database
    operations: Registry
    jobs: Jobs
    clock: SystemClock
    told: Told

    async def outcome(self, name: str, caller: Caller | None = None, key: str | None = None, /, **data: Any) -> Outcome:
        caller = caller or self.caller
        return await self.runner.run(self.operations[name], caller, data, request_id="req_1", idempotency_key=key)

    async def run(self, name: str, caller: Caller | None = None, /, **data: Any) -> Any:
        """Run an operation; returns its document read, or its result."""
        result = (await self.outcome(name, caller, **data)).result
        return orjson.loads(result.body) if isinstance(result, Document) else result

    async def agent(self) -> str:
        return (await self.run("agents.create", name="Ada"))["id"]

    async def session(self, **fields: Any) -> dict[str, Any]:
        return await self.run("sessions.create", id=await self.agent(), **fields)

    async def say(self, session: str, text: str, answer: str | None = "Yes.", **fields: Any) -> str:
        """Send a message, and have it answered; returns the message's id."""
        await self.run("sessions.send", id=session, text=text, **fields)
        if answer is not None:
            await self.answer(session, answer)
        (found,) = await self.rows("SELECT id FROM messages WHERE role = 'user' ORDER BY id DESC LIMIT 1")
        return str(found["id"])

    async def answer(self, session: str, text: str) -> str:
        """End the run of a session, as whoever runs it does; returns the answer's id."""
        async with self.database.transaction(self.caller.org_id) as db:
            found = await db.fetchrow("SELECT active_id FROM sessions WHERE id = $1", UUID(session))
            held = await db.fetchrow(EXECUTIONS["hold"], found["active_id"])
            ended = await end(db, self.jobs, held, "completed", self.clock.now(), written=Written(text))
        return str(ended.row["answer_id"])

    async def shown(self, session: str, **fields: Any) -> list[dict[str, Any]]:
        """Return the messages of the branch that is shown."""
        page = await self.run("sessions.messages", id=session, **fields)
        return [orjson.loads(each) for each in page.items]

    async def texts(self, session: str, **fields: Any) -> list[str]:
        return [each["text"] for each in await self.shown(session, **fields)]

    async def history(self, session: str, message: str, **limits: int) -> list[Message]:
        async with self.database.read(self.caller.org_id) as db:
            return await history(db, UUID(session), UUID(message), **limits)

    async def rows(self, query: str, *args: object) -> list[Any]:
        connection = await connect_as(self.url, "hub_owner")
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()


@asynccontextmanager
async def talk(database_url: str, caller: Caller, rooms: Rooms | None = None) -> AsyncGenerator[Talk]:
    """Open them; what is told goes into `rooms`, where there are any."""
    clock = SystemClock()
    database = Database(database_url, role="hub_app", size=4)
    trail = AuditTrail(database_url, clock)
    told = Told()
    telling = Telling(rooms or told)
    jobs = Jobs(clock, lambda: None)
    executions = Executions(jobs, Models(Settings.load(), clock), lambda: None)
    kinds = (Agents(), Sessions(executions, telling, Leaving(jobs)), Talking(executions, telling))
    operations = Registry.of(each for kind in kinds for each in kind.operations())
    keys = IdempotencyKeys("of a test")
    runner = Runner(database, trail, clock, lambda: None, limiter_without_redis(clock), keys)
    yield Talk(database_url, caller, runner, database, operations, jobs, clock, told)
    await telling.close()
    await trail.close()
    await database.close()
