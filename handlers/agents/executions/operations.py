"""What can be done with executions: begun, looked at, waited for, cancelled, answered."""

from typing import NoReturn, cast
from uuid import UUID

from core.clock import Clock
from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Document, Page, Streamed
from core.operations.validation import validated
from handlers.agents.executions.answering import Answering
from handlers.agents.executions.beginning import Executions, agent_of
from handlers.agents.executions.following import Executing
from handlers.agents.executions.listing import executions_of
from handlers.agents.executions.models import (
    AnswerCalls,
    Execute,
    ExecuteInput,
    Execution,
    ListExecutions,
    ListOfAgent,
    ListSteps,
    Query,
    Step,
)
from handlers.agents.executions.store import SQL, document, find, step
from handlers.lasting.asked import among, patience, whose
from handlers.lasting.models import WaitInput
from handlers.resources.models import GetInput

_READ, _WRITE = "read:agents", "write:agents"


class ExecutionOperations:
    """Executions of the caller's organisation's agents."""

    def __init__(self, executions: Executions, answering: Answering, executing: Executing, clock: Clock) -> None:
        self._executions = executions
        self._answering = answering
        self._executing = executing
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "agents.execute",
        gives="executions",
        scope=_WRITE,
        transaction="write",
        input=Execute,
        result=Document,
        shows=Execution,
    )
    async def execute(self, ctx: Context, asked: Execute) -> Document:
        """Have an agent do something. The answer is the execution, done or not."""
        agent_id = _agent(ctx, asked.id)
        return await self._executions.begin(
            ctx, agent_id, query=asked.query, context=asked.context, options=asked.options
        )

    @operation(
        "agents.execute_input",
        gives="executions",
        scope=_WRITE,
        transaction="write",
        input=ExecuteInput,
        result=Document,
        shows=Execution,
    )
    async def execute_input(self, ctx: Context, asked: ExecuteInput) -> Document:
        """Have an agent do something, as version 1 asks for it."""
        given = asked.input if isinstance(asked.input, dict) else {"query": asked.input}
        said = cast("Query", validated(Query, {**given, "id": asked.agent_id}))
        return await self._executions.begin(ctx, _agent(ctx, said.id), query=said.query, context=said.context)

    @operation("executions.list", scope=_READ, transaction="read", input=ListExecutions, result=Page, shows=Execution)
    async def list(self, ctx: Context, wanted: ListExecutions) -> Page:
        """List executions, newest first."""
        agent_id = whose("agent_id", wanted.agent_id)
        return await executions_of(ctx.db, agent_id, wanted, among(ctx.caller))

    @operation(
        "executions.of_agent",
        touches="agents",
        scope=_READ,
        transaction="read",
        input=ListOfAgent,
        result=Page,
        shows=Execution,
    )
    async def of_agent(self, ctx: Context, wanted: ListOfAgent) -> Page:
        """List the executions of an agent, newest first."""
        agent_id = _agent(ctx, wanted.id)
        if await agent_of(ctx.db, agent_id) is None:
            _no_agent()
        return await executions_of(ctx.db, agent_id, wanted, None)

    @operation("executions.get", scope=_READ, transaction="read", input=GetInput, result=Document, shows=Execution)
    async def get(self, ctx: Context, wanted: GetInput) -> Document:
        """Look at one execution."""
        return document(await find(ctx.db, ctx.caller, wanted.id))

    @operation("executions.steps", scope=_READ, transaction="read", input=ListSteps, result=Page, shows=Step)
    async def steps(self, ctx: Context, wanted: ListSteps) -> Page:
        """List what an execution has done, in order."""
        found = await find(ctx.db, ctx.caller, wanted.id)
        first = (wanted.page - 1) * wanted.per_page
        rows = await ctx.db.fetch(SQL["steps_page"], found["id"], wanted.per_page, first)
        items = [step(row) for row in rows if row["ordinal"] is not None]
        return Page(items, wanted.page, wanted.per_page, rows[0]["total"])

    @operation(
        "executions.wait",
        scope=_WRITE,
        transaction="read",
        input=WaitInput,
        result=Document | Streamed,
        shows=Execution,
    )
    async def wait(self, ctx: Context, wanted: WaitInput) -> Document | Streamed:
        """Wait for an execution that one has asked for, or read it as it is written."""
        found = await find(ctx.db, ctx.caller, wanted.id)
        if wanted.stream:
            return Streamed(self._executing.parts(ctx.caller, found["id"]))
        return document(await self._executing.wait(ctx.caller, found["id"], patience(ctx, self._clock, wanted)))

    @operation("executions.follow", scope=_READ, transaction="read", input=GetInput, result=Streamed, shows=Execution)
    async def follow(self, ctx: Context, wanted: GetInput) -> Streamed:
        """Read what an execution has written so far, and what it writes, to its end."""
        found = await find(ctx.db, ctx.caller, wanted.id)
        return Streamed(self._executing.parts(ctx.caller, found["id"]))

    @operation("executions.cancel", scope=_WRITE, transaction="write", input=GetInput, result=Document, shows=Execution)
    async def cancel(self, ctx: Context, wanted: GetInput) -> Document:
        """End an execution; one that has ended stays as it is."""
        return await self._executions.cancel(ctx, (await find(ctx.db, ctx.caller, wanted.id))["id"])

    @operation(
        "executions.answer", scope=_WRITE, transaction="write", input=AnswerCalls, result=Document, shows=Execution
    )
    async def answer(self, ctx: Context, brought: AnswerCalls) -> Document:
        """Bring what an execution waits for: results of its calls, or a yes or no to them."""
        return await self._answering.answer(ctx, brought)


def _agent(ctx: Context, text: str) -> UUID:
    id = parse_id(text)
    if id is None or not ctx.caller.may_touch(id):
        _no_agent()
    return id


def _no_agent() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no agent with this id")
