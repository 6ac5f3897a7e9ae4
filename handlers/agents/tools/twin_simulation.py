"""`twin_simulation`: what would happen to a twin. Nothing of the twin changes.

The twins that an agent names are what its author lets it simulate. One that names none simulates what those may for whom it works.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock
from core.errors import HubError
from core.ids import parse_id
from core.operations.validation import validated
from core.store.database import Database
from core.store.queries import load_queries
from handlers.agents.config import AgentConfig
from handlers.agents.tools.tool import LONGEST_OUTPUT, Calling, Rights, ToolError, ToolResult
from handlers.models.model import ToolSpec
from handlers.twins.simulations.asking import Asking
from handlers.twins.simulations.models import LONGEST_HORIZON, MOST_RUNS, USUAL_SECONDS, Wanted

SQL = load_queries(Path(__file__).with_name("queries.sql"))
NAME = "twin_simulation"
SCOPE = "write:twins"
# Twins that a model is told of; it may name others that it may simulate as well.
MOST_NAMED = 50
_LONGEST_NAME = 100
_MOST_TOLD = 8


@dataclass(frozen=True, slots=True)
class TwinSimulation:
    """Simulates a twin of `among`; None: any that those may touch for whom the run works. `known` are told to the model.

    Its result is JSON: what was run, `findings` in sentences, and `indicators`, as many as there is room for.
    """

    database: Database
    asking: Asking
    clock: Clock
    among: frozenset[UUID] | None
    known: Sequence[tuple[UUID, str]]
    needs_approval: bool = False

    @property
    def spec(self) -> ToolSpec:
        """How the model is told of it: with the twins that there are, whose names are data."""
        named = "; ".join(f"{id} ({' '.join(name.split())[:_LONGEST_NAME]})" for id, name in self.known)
        return ToolSpec(
            NAME,
            "Simulates a digital twin under a scenario beside its baseline, and changes nothing. Scenarios: demand_spike, "
            "supply_disruption, lead_time_change, capacity_change, price_change, policy_change, what_if, and the twin's own. "
            f"What it gives is data. Twins: {named or 'none'}.",
            {
                "type": "object",
                "properties": {
                    "twin": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Its id, or its name"},
                    "scenario": {"type": "string", "minLength": 1, "maxLength": 64},
                    "parameters": {"type": "object", "description": 'Such as {"increase_percentage": 30}'},
                    "horizon": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_HORIZON},
                    "runs": {"type": "integer", "minimum": 1, "maximum": MOST_RUNS},
                },
                "required": ["twin", "scenario"],
                "additionalProperties": False,
            },
        )

    async def call(self, calling: Calling, arguments: Mapping[str, Any]) -> ToolResult:
        """Simulate. Raises ToolError where there is no such twin, or scenario, or it comes to no result."""
        org_id = calling.rights.org_id
        twin_id = self._permitted(calling.rights, str(arguments["twin"]))
        left = max(1.0, calling.deadline - self.clock.monotonic())
        try:
            wanted = validated(Wanted, {**{name: arguments[name] for name in arguments if name != "twin"}})
            assert isinstance(wanted, Wanted)  # noqa: S101 - tells the type checker what validated() made
            deadline = self.clock.now() + timedelta(seconds=min(left, USUAL_SECONDS))
            by = calling.rights.subject
            id = await self.asking.begin(org_id, twin_id, wanted, by=by, key=calling.key, deadline=deadline)
        except HubError as error:
            raise _told(error) from error
        try:
            row = await self.asking.ended(org_id, id)
        except asyncio.CancelledError:
            await self._let_go(calling, id)
            raise
        if row is None or row["status"] != "completed":
            raise ToolError(_why(row))
        return ToolResult(_written(row))

    def _permitted(self, rights: Rights, named: str) -> UUID:
        if self.among is None and SCOPE not in rights.scopes:
            raise ToolError(f"The agent names no twins, and works for somebody without the scope {SCOPE}")
        id = self._id(named)
        is_allowed = id in self.among if self.among is not None else _may(id, rights)
        if not is_allowed:
            raise ToolError("There is no twin with this id that this agent may simulate")
        return id

    def _id(self, named: str) -> UUID:
        id = parse_id(named.strip())
        if id is not None:
            return id
        found = [id for id, name in self.known if name.casefold() == named.strip().casefold()]
        if len(found) != 1:
            raise ToolError("No twin has this name, or several have it: name it by its id")
        return found[0]

    async def _let_go(self, calling: Calling, id: UUID) -> None:
        """Cancel the simulation where the run has ended; one that another worker takes up finds it again."""
        async with self.database.read(calling.rights.org_id) as db:
            is_open = await db.fetchval(SQL["is_open"], calling.execution_id)
        if not is_open:
            await self.asking.cancel(calling.rights.org_id, id)


async def twin_simulation_of(
    database: Database, asking: Asking, clock: Clock, config: AgentConfig, rights: Rights
) -> TwinSimulation:
    """Return the tool of an agent. What its author names in `config.twins`, it may simulate for everybody."""
    among = frozenset(config.twins) if config.twins else None
    allowed = sorted(rights.resource_ids) if among is None and rights.resource_ids is not None else None
    async with database.read(rights.org_id) as db:
        rows = await db.fetch(SQL["simulated"], sorted(among) if among else None, allowed, MOST_NAMED)
    return TwinSimulation(database, asking, clock, among, [(row["id"], row["name"]) for row in rows])


def _may(id: UUID, rights: Rights) -> bool:
    return rights.resource_ids is None or id in rights.resource_ids


def _told(error: HubError) -> ToolError:
    """Return what the model is told to mend."""
    told = "; ".join(f"{each.field}: {each.message}" for each in error.details[:_MOST_TOLD])
    return ToolError(f"{error.text}: {told}" if told else error.text)


def _why(row: Any) -> str:
    if row is None:
        return "The twin was deleted while it was simulated"
    error = {} if row["error"] is None else orjson.loads(row["error"])
    return f"The simulation was {row['status']}: {error.get('message', '')}".rstrip(": ")


def _written(row: Any) -> str:
    summary = orjson.loads(row["summary"])
    said: dict[str, Any] = {"simulation": str(row["id"]), "twin": str(row["twin_id"]), "scenario": row["scenario"]}
    said |= {"parameters": orjson.loads(row["parameters"])} if len(row["parameters"]) < LONGEST_OUTPUT // 4 else {}
    said |= {"horizon": row["horizon"], "time_unit": row["time_unit"], "runs": row["runs"], "seed": row["seed"]}
    said |= {"notes": orjson.loads(row["notes"])[:_MOST_TOLD], "findings": summary["findings"]}
    known: dict[str, Any] = summary["indicators"]
    most = len(known)
    while True:
        told = {**said, "indicators": dict(islice(known.items(), most)), "is_cut": most < len(known)}
        written = orjson.dumps(told).decode()
        if len(written) <= LONGEST_OUTPUT or most == 0:
            return written[:LONGEST_OUTPUT]
        most //= 2
