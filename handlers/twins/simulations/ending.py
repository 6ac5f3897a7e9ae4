"""How simulations end, whoever ends them: the worker, a caller who cancels, the sweeper. All in the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson

from core.jobs.jobs import Jobs
from core.store.statements import Statements
from handlers.lasting.told import Told
from handlers.resources.store import short_of
from handlers.twins.simulations.models import ENDED
from handlers.twins.simulations.store import SQL, head

KIND = "simulations.run"
What = Literal["started", "progress", "completed", "failed", "cancelled"]
Ending = Literal["completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation came to, as JSON: its summary, and its series, its baseline's and notable events."""

    summary: str | None = None
    rest: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A simulation that has ended: its row, and the event that is to be emitted last."""

    row: Any
    told: Told


NOTHING = Outcome()


def told_of(row: Any, what: What) -> Told:
    """Return an event of a simulation."""
    subject = f"simulations/{row['id']}"
    short = short_of(subject, row["id"], row["version"])
    return Told(f"twin.simulation.{what}", subject, f"twins:{row['twin_id']}", head(row).body, short)


async def end(
    db: Statements,
    held: Any,
    status: Ending,
    now: datetime,
    *,
    outcome: Outcome = NOTHING,
    error: tuple[str, str] | None = None,
    from_outside: bool = False,
) -> Ended:
    """End a simulation that is held and has not ended. `from_outside`: whoever works on it is outrun from now on."""
    told_error = None if error is None else orjson.dumps({"code": error[0], "message": error[1]}).decode()
    written = (outcome.summary, outcome.rest, told_error, now)
    row = await db.fetchrow(SQL["end"], held["id"], status, int(from_outside), *written)
    return Ended(row, told_of(row, status))


async def cancel(db: Statements, jobs: Jobs, org_id: UUID, id: UUID, now: datetime) -> Ended | None:
    """End a simulation as cancelled; None where it has ended.

    The caller does not hold it: a worker has its job's row before the simulation's, and so is it here.
    """
    await jobs.cancel(db, org_id, KIND, str(id))
    held = await db.fetchrow(SQL["hold"], id)
    if held is None or held["status"] in ENDED:
        return None
    return await end(db, held, "cancelled", now, from_outside=True)


def progress(row: Any) -> dict[str, Any]:
    """Return what its room is told of a simulation that runs."""
    head = {"simulation_id": str(row["id"]), "twin_id": str(row["twin_id"]), "attempt": row["attempt"]}
    return {**head, "status": row["status"], "done": row["done"], "total": row["total"]}


def announcement(row: Any) -> dict[str, Any]:
    """Return what its room is told of its end."""
    summary, error = (None if row[name] is None else orjson.Fragment(row[name]) for name in ("summary", "error"))
    return {**progress(row), "summary": summary, "error": error}
