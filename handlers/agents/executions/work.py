"""The work of one attempt: turns of the model and calls of tools, each a step that is kept before the next begins."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock
from core.errors import HubError
from core.jobs.jobs import Jobs
from core.jobs.run import JobRun
from core.store.statements import Statements
from handlers.agents.config import AgentConfig
from handlers.agents.executions.beginning import New, insert
from handlers.agents.executions.ending import told_of_step
from handlers.agents.executions.planning import (
    DELEGATE,
    Answered,
    Refused,
    Turn,
    citations_of,
    first_citation,
    messages_of,
    next_of,
)
from handlers.agents.executions.store import SQL, rights_of, step, usage_of
from handlers.agents.executions.telling import Telling
from handlers.agents.executions.turns import Spoken, speak
from handlers.agents.leaving import close
from handlers.agents.models import AgentBody
from handlers.agents.tools.arguments import read_arguments
from handlers.agents.tools.tool import LONGEST_OUTPUT, Calling, Delegation, Tool, ToolError, ToolResult
from handlers.agents.tools.toolbox import Toolbox
from handlers.lasting.told import emit
from handlers.models.model import Model, Request, ToolCall
from handlers.models.structured import UnfitError, read_structured
from rooms.fence import Outrun

# One call of a tool, whatever is left of the run.
TOOL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Worked:
    """All was said; each is JSON, `output` None where no schema was asked for."""

    citations: str
    usage: str
    output: str | None


@dataclass(frozen=True, slots=True)
class Delegated:
    """An execution of another agent that is to be begun, by a step."""

    ordinal: int
    delegation: Delegation

    async def begin(self, db: Statements, jobs: Jobs, row: Any, now: datetime) -> None:
        """Begin it, on behalf of whoever the run works for, within the time that the run has; its step waits for it."""
        await db.fetchrow(SQL["wait_step"], row["id"], self.ordinal)
        asked = self.delegation
        if await db.fetchval(SQL["agent"], asked.agent_id) is None:
            # It was deleted since it was asked for: what its deletion has done to others is done to this one too.
            await close(db, jobs, row["org_id"], asked.agent_id)
        new = New(asked.agent_id, asked.query, "{}", "{}", row["rights"], now, row["deadline_at"])
        await insert(db, jobs, new, parent=(row["id"], self.ordinal), depth=row["depth"] + 1)


@dataclass(frozen=True, slots=True)
class Paused:
    """It goes on when others have done theirs: `calls` the caller, `delegations` other agents; `waiting` steps wait already."""

    waiting: frozenset[int]
    calls: Sequence[dict[str, Any]]
    delegations: Sequence[Delegated]
    usage: dict[str, int]


class Work:
    """Of one attempt."""

    def __init__(
        self,
        job: JobRun,
        row: Any,
        agent: AgentBody,
        config: AgentConfig,
        model: Model,
        toolbox: Toolbox,
        conversation: Sequence[Any],
        telling: Telling,
        clock: Clock,
        poke: Callable[[], None],
    ) -> None:
        self._job = job
        self._row = row
        self._agent = agent
        self._config = config
        self._model = model
        self._toolbox = toolbox
        self._conversation = conversation
        self._telling = telling
        self._clock = clock
        self._poke = poke
        self._usage = usage_of(row)
        self._id: UUID = row["id"]
        self._attempt: int = row["attempt"]
        self._rights = rights_of(row)

    async def go_on(self, steps: Sequence[Any]) -> Worked | Paused:
        """Go on after these steps, to the end or to a pause. Raises HubError where it fails, Outrun, JobLost."""
        done = list(steps)
        while True:
            match next_of(done):
                case Turn():
                    await self._turn(done)
                case Answered():
                    return self._worked(done)
                case Refused(message=message):
                    raise HubError("OUTPUT_INVALID", message)
                case calls:
                    paused = await self._call_all(calls.open, done)
                    if paused is not None:
                        return paused

    async def _turn(self, steps: list[Any]) -> None:
        self._check_limits(steps)
        request = Request(
            messages_of(self._config, self._row["context"], self._conversation, steps),
            self._config.most_tokens,
            [tool.spec for tool in self._toolbox],
            self._config.temperature,
            self._config.output_schema,
        )
        began, before = self._clock.now(), self._telling.text
        spoken = await speak(
            self._model,
            request,
            self._telling,
            self._clock,
            attempts=self._config.attempts,
        )
        await self._telling.flush()
        wrong = self._wrong_with(spoken)
        if wrong is not None:  # the answer is what comes of the next turn
            await self._telling.go_back(before)
        await self._keep_turn(steps, spoken, began, wrong)

    def _worked(self, steps: Sequence[Any]) -> Worked:
        last, schema = steps[-1]["text"], self._config.output_schema
        try:
            output = None if schema is None else orjson.dumps(read_structured(last, schema)).decode()
        except UnfitError as error:  # the agent's was changed since
            raise HubError("OUTPUT_INVALID", str(error)) from error
        return Worked(citations_of(steps, last), orjson.dumps(self._usage).decode(), output)

    def _wrong_with(self, spoken: Spoken) -> str | None:
        """Return what is wrong with an answer that is to be of a schema; calls of tools come before it."""
        schema = self._config.output_schema
        if schema is None or spoken.calls:
            return None
        try:
            read_structured(spoken.text, schema)
        except UnfitError as error:
            is_cut = spoken.end is not None and spoken.end.reason == "length"
            return f"{error}; it was cut at most_tokens, {self._config.most_tokens}" if is_cut else str(error)
        return None

    def _check_limits(self, steps: Sequence[Any]) -> None:
        turns = sum(each["kind"] == "model" for each in steps)
        if turns >= self._config.most_steps:
            raise HubError("LIMIT_EXCEEDED", f"It has taken {turns} turns of the model, as many as it may")
        tokens = self._usage["input_tokens"] + self._usage["output_tokens"]
        most = self._config.most_total_tokens
        if most is not None and tokens >= most:
            raise HubError("LIMIT_EXCEEDED", f"It has used {tokens} tokens; it may use {most}")

    async def _keep_turn(self, steps: list[Any], spoken: Spoken, began: datetime, wrong: str | None) -> None:
        end = spoken.end
        if end is None:
            raise AssertionError("a turn that was spoken has an end")
        used = {"input_tokens": end.input_tokens or 0, "output_tokens": end.output_tokens or 0}
        for name, count in used.items():
            self._usage[name] += count
        calls = [{"id": each.id, "name": each.name, "arguments": each.arguments} for each in spoken.calls]
        ordinal, now = len(steps) + 1, self._clock.now()
        status, text, output, error = "completed", spoken.text, None, None
        if wrong is not None:  # of the text of the run it is no part
            status, text, output, error = "failed", "", _bounded(spoken.text.strip()), _told("OUTPUT_INVALID", wrong)
        ended = (status, self._telling.sequence, text, orjson.dumps(calls).decode(), output, "[]", error)
        async with self._job.transaction() as db:
            execution = await self._count(db, end.model)
            begun = (self._id, self._attempt, ordinal, "model", end.model, "running", None, None, began)
            await db.fetchrow(SQL["begin_step"], *begun)
            kept = await db.fetchrow(
                SQL["end_step"], self._id, ordinal, *ended, orjson.dumps(used).decode(), end.model, now
            )
            await emit(db, self._rights.org_id, [told_of_step(execution, kept)], now)
        await self._tell(steps, kept)

    async def _call_all(self, open_: Sequence[tuple[ToolCall, Any]], steps: list[Any]) -> Paused | None:
        """Call what can be called; what others have to do first is left waiting, and the run with it."""
        waiting: list[dict[str, Any]] = []
        delegations: list[Delegated] = []
        waits: set[int] = set()
        for call, begun in open_:
            tool = self._toolbox.named(call.name)
            kept = begun
            if not self._still_waits(begun, tool):
                kept = await self._call(call, tool, begun, steps, delegations)
            if kept["status"] != "waiting":
                continue
            waits.add(kept["ordinal"])
            if kept["name"] != DELEGATE or _needs_yes(kept, tool):
                waiting.append(_pending(kept, tool))
        return Paused(frozenset(waits), waiting, delegations, self._usage) if waits or delegations else None

    def _still_waits(self, begun: Any, tool: Tool | None) -> bool:
        """Tell whether a step waits for somebody; one that waited for a person's yes, and has it, can be called."""
        if begun is None or begun["status"] != "waiting":
            return False
        has_yes = tool is not None and tool.needs_approval and begun["is_approved"]
        return not (has_yes and begun["attempt"] < self._attempt)

    async def _call(
        self, call: ToolCall, tool: Tool | None, begun: Any, steps: list[Any], delegations: list[Delegated]
    ) -> Any:
        ordinal = len(steps) + 1 if begun is None else begun["ordinal"]
        needs_yes = _needs_yes(begun, tool)
        arguments: dict[str, Any] | None = None
        refused: str | None = None
        try:
            if tool is None:
                raise ToolError(f"There is no tool called {call.name[:100]}")
            arguments = read_arguments(tool.spec, call.arguments)
        except ToolError as error:
            refused, needs_yes = str(error), False
        kept = await self._begin(call, ordinal, arguments, waits=needs_yes)
        _put(steps, kept)
        if needs_yes:
            return kept
        result: Any = None
        if refused is None and tool is not None and arguments is not None:
            try:
                result = await self._result(tool, arguments, ordinal, steps)
            except ToolError as error:
                refused = str(error)
        if refused is None and isinstance(result, ToolResult):
            return await self._finish(steps, ordinal, result, None)
        if refused is not None:
            return await self._finish(steps, ordinal, None, refused)
        if isinstance(result, Delegation):  # its step waits from the pause on, in which it is begun
            delegations.append(Delegated(ordinal, result))
            return kept
        kept = await self._begin(call, ordinal, arguments, waits=True)
        _put(steps, kept)
        return kept

    async def _result(self, tool: Tool, arguments: dict[str, Any], ordinal: int, steps: Sequence[Any]) -> Any:
        left = (self._row["deadline_at"] - self._clock.now()) / timedelta(seconds=1)
        seconds = max(0.0, min(left, TOOL_SECONDS))
        calling = Calling(
            self._row["agent_id"],
            self._agent,
            self._rights,
            self._id,
            f"{self._id}:{ordinal}",
            self._row["depth"],
            self._clock.monotonic() + seconds,
            first_citation(steps),
        )
        try:
            async with asyncio.timeout(seconds):
                return await tool.call(calling, arguments)
        except TimeoutError as error:
            raise ToolError(f"The tool gave no result within {seconds:.0f} s") from error
        except HubError as error:
            raise ToolError(f"The tool gave no result: {error.text}") from error

    async def _begin(self, call: ToolCall, ordinal: int, arguments: dict[str, Any] | None, *, waits: bool) -> Any:
        status = "waiting" if waits else "running"
        input = None if arguments is None else orjson.dumps(arguments).decode()
        begun = (ordinal, "tool", call.name[:200], status, call.id, input, self._clock.now())
        async with self._job.transaction() as db:
            kept = await db.fetchrow(SQL["begin_step"], self._id, self._attempt, *begun)
        if kept is None:
            raise Outrun
        await self._telling.step(step(kept))
        return kept

    async def _finish(self, steps: list[Any], ordinal: int, result: ToolResult | None, refused: str | None) -> Any:
        now = self._clock.now()
        status, output, citations, error = "failed", None, "[]", None
        if result is not None:
            status, output = "completed", _bounded(result.content)
            citations = orjson.dumps([each.model_dump(mode="json") for each in result.citations]).decode()
        if refused is not None:
            error = _told("TOOL_FAILED", refused)
        ended = (status, self._telling.sequence, "", "[]", output, citations, error, "{}", None, now)
        async with self._job.transaction() as db:
            execution = await self._count(db, None)
            kept = await db.fetchrow(SQL["end_step"], self._id, ordinal, *ended)
            await emit(db, self._rights.org_id, [told_of_step(execution, kept)], now)
        await self._tell(steps, kept)
        return kept

    async def _count(self, db: Statements, model: str | None) -> Any:
        """Hold the execution, and keep what was written and used so far; raises Outrun."""
        self._usage["steps"] += 1
        telling = self._telling
        kept = (telling.text, telling.sequence, telling.places, model, orjson.dumps(self._usage).decode())
        execution = await db.fetchrow(SQL["count"], self._id, self._attempt, *kept)
        if execution is None:
            raise Outrun
        return execution

    async def _tell(self, steps: list[Any], kept: Any) -> None:
        _put(steps, kept)
        self._poke()
        await self._telling.step(step(kept))


def _put(steps: list[Any], kept: Any) -> None:
    place = kept["ordinal"] - 1
    steps[place : place + 1] = [kept]


def _needs_yes(begun: Any, tool: Tool | None) -> bool:
    return tool is not None and tool.needs_approval and not (begun is not None and begun["is_approved"])


def _pending(begun: Any, tool: Tool | None) -> dict[str, Any]:
    arguments = {} if begun["input"] is None else orjson.loads(begun["input"])
    needs = "approval" if _needs_yes(begun, tool) else "result"
    return {"call_id": begun["call_id"], "name": begun["name"], "arguments": arguments, "needs": needs}


def _told(code: str, message: str) -> str:
    return orjson.dumps({"code": code, "message": message[:4_000]}).decode()


def _bounded(text: str) -> str:
    text = text.replace("\x00", "")
    if len(text) <= LONGEST_OUTPUT:
        return text
    return text[:LONGEST_OUTPUT] + "\n[The rest is left out.]"
