"""How executions end, whoever ends them: the worker, a caller who cancels, the sweeper. All in the caller's transaction.

The row is held by the caller. With the end go the answer into its session, the result to whoever delegated, and the event.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson

from core.ids import new_id
from core.jobs.jobs import Jobs
from core.store.statements import Statements
from handlers.agents.executions.models import ENDED
from handlers.agents.executions.store import SQL, document, rights_of, step
from handlers.lasting.told import Told
from handlers.resources.store import short_of

KIND = "agents.run"
Ending = Literal["completed", "failed", "cancelled"]
# Of a delegate's answer, so much is read by who delegated.
_LONGEST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Written:
    """What a run has come to; None: as it was saved last. `places` is where its rooms have all of it, None where one may not."""

    text: str | None = None
    sequence: int | None = None
    citations: str | None = None
    usage: str | None = None
    places: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution that has ended: its row, and the event that is to be emitted last."""

    row: Any
    told: Told


NOTHING = Written()


def told_of(row: Any, what: str) -> Told:
    """Return the event of an execution: `what` is started, completed, failed, cancelled."""
    shown = document(row)
    subject = f"executions/{row['id']}"
    short = short_of(subject, row["id"], row["version"])
    return Told(f"agent.execution.{what}", subject, f"agents:{row['agent_id']}", shown.body, short)


def told_of_step(execution: Any, row: Any) -> Told:
    """Return the event of a step that has ended."""
    subject = f"executions/{execution['id']}"
    head = {"execution_id": str(execution["id"]), "agent_id": str(execution["agent_id"])}
    data = orjson.dumps({**head, "step": orjson.Fragment(step(row))}).decode()
    href = f"/v2/{subject}/steps"
    short = orjson.dumps({**head, "ordinal": row["ordinal"], "href": href, "truncated": True}).decode()
    return Told("agent.execution.step", subject, f"agents:{execution['agent_id']}", data, short)


async def end(
    db: Statements,
    jobs: Jobs,
    held: Any,
    status: Ending,
    now: datetime,
    *,
    written: Written = NOTHING,
    error: tuple[str, str] | None = None,
    from_outside: bool = False,
) -> Ended:
    """End an execution that is held and has not ended. `from_outside`: whoever works on it is outrun from now on."""
    answer_id = None
    text = held["text"] if written.text is None else written.text
    if held["session_id"] is not None:
        answer_id = await _answer(db, held, status, text, written.citations or held["citations"], now)
    told_error = None if error is None else orjson.dumps({"code": error[0], "message": error[1]}).decode()
    row = await db.fetchrow(
        SQL["end"],
        held["id"],
        status,
        int(from_outside),
        written.text,
        written.sequence,
        written.citations,
        told_error,
        written.usage,
        answer_id,
        now,
        written.places,
        written.output,
    )
    if held["parent_id"] is not None:
        await _tell_parent(db, jobs, row, now)
    return Ended(row, told_of(row, status))


async def cancel(db: Statements, jobs: Jobs, org_id: UUID, id: UUID, now: datetime) -> list[Ended]:
    """End an execution and its delegates as cancelled; none where it has ended. The first is it.

    The caller holds none of them: a worker has its job's row before the execution's, and so is it here.
    """
    await jobs.cancel(db, org_id, KIND, str(id))
    held = await db.fetchrow(SQL["hold"], id)
    if held is None or held["status"] in ENDED:
        return []
    ended = [await end(db, jobs, held, "cancelled", now, from_outside=True)]
    return ended + await cancel_delegates(db, jobs, org_id, id, now)


async def cancel_delegates(db: Statements, jobs: Jobs, org_id: UUID, id: UUID, now: datetime) -> list[Ended]:
    """End those that an execution, which has ended, has delegated to."""
    ended: list[Ended] = []
    for child in await db.fetch(SQL["children"], id):
        ended += await cancel(db, jobs, org_id, child["id"], now)
    return ended


async def _answer(db: Statements, held: Any, status: Ending, text: str, citations: str, now: datetime) -> UUID | None:
    """Write the answer into the session, if there is one, and let others be asked for."""
    answer_id = None
    if text and status != "failed":
        by = rights_of(held).subject
        made = new_id()
        said = (held["session_id"], made, held["message_id"], text, citations, held["id"], by, now)
        answer_id = await db.fetchval(SQL["answer"], *said)
    await db.execute(SQL["free_session"], held["session_id"], held["id"], answer_id, now)
    return answer_id


async def _tell_parent(db: Statements, jobs: Jobs, row: Any, now: datetime) -> None:
    """Give the answer to the step that delegated, and have its execution go on."""
    is_good = row["status"] == "completed"
    output = (row["output"] or row["text"])[:_LONGEST_ANSWER] if is_good else None
    error = None if is_good else orjson.dumps({"code": "DELEGATE_ENDED", "message": _why(row)}).decode()
    answered = (row["parent_id"], row["parent_step"], "completed" if is_good else "failed", output, error)
    if await db.fetchrow(SQL["answer_step"], *answered, row["citations"], now) is not None:
        parent_id = str(row["parent_id"])
        # Where its job is at work still, that sees this answer before it lets the run wait on.
        await jobs.enqueue(db, row["org_id"], KIND, {"execution": parent_id}, key=parent_id, holds=True)


def _why(row: Any) -> str:
    error = {} if row["error"] is None else orjson.loads(row["error"])
    return f"The other agent's execution was {row['status']}: {error.get('message', '')}".rstrip(": ")


def announcement(row: Any) -> dict[str, Any]:
    """Return what the rooms of an execution are told of its end, or of what it waits for."""
    said: dict[str, Any] = {"execution_id": str(row["id"]), "attempt": row["attempt"], "sequence": row["sequence"]}
    if row["status"] == "requires_action":
        return said | {"action": orjson.Fragment(row["action"])}
    shown = orjson.loads(document(row).body)
    kept = ("status", "usage", "error", "answer_id", "citations", "output", "notes", "completed_at")
    return said | {name: shown[name] for name in kept}
