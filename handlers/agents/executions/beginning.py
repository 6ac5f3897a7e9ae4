"""How executions come to be: the row and its job in one transaction, whoever asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.errors import HubError
from core.ids import new_id
from core.jobs.jobs import Jobs
from core.operations.context import Context
from core.operations.results import Document
from core.store.statements import Statements
from handlers.agents.config import AgentConfig, config_of, schema_problems, tool_problems
from handlers.agents.executions import ending
from handlers.agents.executions.ending import KIND
from handlers.agents.executions.models import Options
from handlers.agents.executions.store import SQL, document, find, written
from handlers.agents.models import AgentBody
from handlers.agents.tools.tool import Rights
from handlers.lasting.told import emit_in

NO_OPTIONS = Options()
# What the hub writes itself into an agent's document.
_OWN = frozenset({"id", "created_at", "updated_at", "version"})


class Models(Protocol):
    """Which models there are (handlers.models.providers.Models)."""

    def check(self, names: Sequence[str], *, field: str = "config.model") -> None:
        """Raise HubError VALIDATION_ERROR, at `field`, where one of `names` is no model."""
        ...


class Executions:
    """Begins and ends executions, in the transaction that an operation has open. `announce` wakes whoever tells of ends."""

    def __init__(self, jobs: Jobs, models: Models, announce: Callable[[], None]) -> None:
        self._jobs = jobs
        self._models = models
        self._announce = announce

    async def begin(
        self,
        ctx: Context,
        agent_id: UUID,
        *,
        query: str,
        context: Mapping[str, Any],
        options: Options = NO_OPTIONS,
        session_id: UUID | None = None,
        message_id: UUID | None = None,
    ) -> Document:
        """Make an execution, queued. Raises HubError: RESOURCE_NOT_FOUND where there is no such agent, VALIDATION_ERROR where
        its `config`, or an option beside it, is wrong."""
        caller = ctx.caller
        agent = await agent_of(ctx.db, agent_id, hold=True) if caller.may_touch(agent_id) else None
        if agent is None:
            raise HubError("RESOURCE_NOT_FOUND", "There is no agent with this id")
        config = config_of(agent)
        if options.model is None:
            self._models.check(config.models)
        else:
            self._models.check([options.model], field="model")
        rights = Rights(caller.org_id, caller.subject, caller.scopes, caller.resource_ids)
        made = await insert(
            ctx.db,
            self._jobs,
            new_execution(agent_id, config, query, context, options, rights, ctx.now),
            session_id=session_id,
            message_id=message_id,
        )
        ctx.after_commit(self._jobs.poke)
        return document(made)

    async def cancel(self, ctx: Context, id: UUID) -> Document:
        """End an execution as cancelled, and those that it has delegated to; one that has ended stays as it is. Returns it."""
        found = await find(ctx.db, ctx.caller, str(id))
        ended = await ending.cancel(ctx.db, self._jobs, ctx.caller.org_id, found["id"], ctx.now)
        emit_in(ctx, (each.told for each in ended))
        ctx.after_commit(self._jobs.poke)
        ctx.after_commit(self._announce)
        return document(ended[0].row if ended else await find(ctx.db, ctx.caller, str(id)))


@dataclass(frozen=True, slots=True)
class New:
    """What an execution is made of; the three texts are JSON."""

    agent_id: UUID
    query: str
    context: str
    options: str
    rights: str
    now: datetime
    deadline: datetime


def new_execution(
    agent_id: UUID,
    config: AgentConfig,
    query: str,
    context: Mapping[str, Any],
    options: Options,
    rights: Rights,
    now: datetime,
) -> New:
    """Return what an execution is made of; raises HubError VALIDATION_ERROR where its options are wrong."""
    taken = frozenset(each.name for each in config.tools)
    wrong = tool_problems(options.tools, "tools", taken)
    if options.output_schema is not None:
        wrong += schema_problems(options.output_schema, "output_schema")
    if wrong:
        raise HubError("VALIDATION_ERROR", details=wrong)
    seconds = options.most_seconds or config.most_seconds
    return New(
        agent_id,
        query,
        orjson.dumps(context).decode(),
        options.model_dump_json(exclude_defaults=True),
        written(rights),
        now,
        now + timedelta(seconds=seconds),
    )


async def insert(
    db: Statements,
    jobs: Jobs,
    new: New,
    *,
    session_id: UUID | None = None,
    message_id: UUID | None = None,
    parent: tuple[UUID, int] | None = None,
    depth: int = 0,
) -> Any:
    """Write an execution and its job; returns the row. `parent`: the execution that delegates, and its step."""
    id = new_id()
    parent_id, parent_step = parent or (None, None)
    row = await db.fetchrow(
        SQL["insert"],
        id,
        new.agent_id,
        session_id,
        message_id,
        parent_id,
        parent_step,
        depth,
        new.query,
        new.context,
        new.options,
        new.rights,
        new.now,
        new.deadline,
    )
    await jobs.enqueue(db, row["org_id"], KIND, {"execution": str(id)}, key=str(id))
    return row


async def agent_of(db: Statements, id: UUID, *, hold: bool = False) -> AgentBody | None:
    """Return an agent as it is now, None where there is none; with `hold` it is there until the transaction ends."""
    text = await db.fetchval(SQL["agent"] if hold else SQL["agent_now"], id)
    if text is None:
        return None
    fields = {name: value for name, value in orjson.loads(text).items() if name not in _OWN}
    return AgentBody.model_validate(fields)
