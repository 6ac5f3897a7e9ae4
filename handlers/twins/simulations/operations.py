"""What can be done with simulations of twins: begun, looked at, waited for, cancelled, drawn."""

from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock
from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Document, Page, Streamed
from handlers.lasting.asked import among, patience, whose
from handlers.lasting.models import WaitInput
from handlers.resources.models import GetInput
from handlers.twins.simulation.plot import svg
from handlers.twins.simulation.scenarios import listed
from handlers.twins.simulations.beginning import Simulations, no_twin
from handlers.twins.simulations.following import Watching
from handlers.twins.simulations.listing import simulations_of
from handlers.twins.simulations.models import (
    ListOfTwin,
    ListScenarios,
    ListSimulations,
    Plot,
    PlotInput,
    Scenario,
    Simulate,
    Simulation,
    SimulationHead,
)
from handlers.twins.simulations.store import SQL, document, find, find_whole

_READ, _WRITE = "read:twins", "write:twins"


class SimulationOperations:
    """Simulations of the caller's organisation's twins."""

    def __init__(self, simulations: Simulations, watching: Watching, clock: Clock) -> None:
        self._simulations = simulations
        self._watching = watching
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "simulations.begin",
        touches="twins",
        scope=_WRITE,
        transaction="write",
        input=Simulate,
        result=Document,
        shows=Simulation,
    )
    async def begin(self, ctx: Context, wanted: Simulate) -> Document:
        """Simulate a twin. The answer is the simulation, done or not."""
        return await self._simulations.begin_on_twin(ctx, _twin(ctx, wanted.id), wanted)

    @operation(
        "simulations.list",
        scope=_READ,
        transaction="read",
        input=ListSimulations,
        result=Page,
        shows=SimulationHead,
    )
    async def list(self, ctx: Context, wanted: ListSimulations) -> Page:
        """List simulations, newest first."""
        twin_id = whose("twin_id", wanted.twin_id)
        return await simulations_of(ctx.db, twin_id, wanted, among(ctx.caller))

    @operation(
        "simulations.of_twin",
        touches="twins",
        scope=_READ,
        transaction="read",
        input=ListOfTwin,
        result=Page,
        shows=SimulationHead,
    )
    async def of_twin(self, ctx: Context, wanted: ListOfTwin) -> Page:
        """List the simulations of a twin, newest first."""
        twin_id = _twin(ctx, wanted.id)
        await _document_of(ctx, twin_id)
        return await simulations_of(ctx.db, twin_id, wanted, None)

    @operation("simulations.get", scope=_READ, transaction="read", input=GetInput, result=Document, shows=Simulation)
    async def get(self, ctx: Context, wanted: GetInput) -> Document:
        """Look at one simulation."""
        return document(await find_whole(ctx.db, ctx.caller, wanted.id))

    @operation(
        "simulations.wait",
        scope=_WRITE,
        transaction="read",
        input=WaitInput,
        result=Document | Streamed,
        shows=Simulation,
    )
    async def wait(self, ctx: Context, wanted: WaitInput) -> Document | Streamed:
        """Wait for a simulation that one has asked for, or read how far it is."""
        found = await find(ctx.db, ctx.caller, wanted.id)
        if wanted.stream:
            return Streamed(self._watching.parts(ctx.caller, found["id"]))
        return document(await self._watching.wait(ctx.caller, found["id"], patience(ctx, self._clock, wanted)))

    @operation("simulations.follow", scope=_READ, transaction="read", input=GetInput, result=Streamed, shows=Simulation)
    async def follow(self, ctx: Context, wanted: GetInput) -> Streamed:
        """Read how far a simulation is, to its end."""
        found = await find(ctx.db, ctx.caller, wanted.id)
        return Streamed(self._watching.parts(ctx.caller, found["id"]))

    @operation(
        "simulations.cancel", scope=_WRITE, transaction="write", input=GetInput, result=Document, shows=Simulation
    )
    async def cancel(self, ctx: Context, wanted: GetInput) -> Document:
        """End a simulation; one that has ended stays as it is."""
        return await self._simulations.cancel(ctx, wanted.id)

    @operation("simulations.plot", scope=_READ, transaction="read", input=PlotInput, result=Document, shows=Plot)
    async def plot(self, ctx: Context, wanted: PlotInput) -> Document:
        """Draw one series of what a simulation came to, as SVG; without `indicator` the one that has changed most."""
        row = await find_whole(ctx.db, ctx.caller, wanted.id)
        if row["status"] != "completed":
            raise HubError("RESOURCE_CONFLICT", f"There is nothing to draw: the simulation is {row['status']}")
        title = f"{row['scenario'].replace('_', ' ').capitalize()}, {row['runs']} runs"
        picture = svg(orjson.loads(row["outcome"]), title=title, indicator=wanted.indicator)
        body = orjson.dumps({"id": str(row["id"]), "svg": picture}).decode()
        return Document("simulations", row["id"], row["version"], row["finished_at"], body)

    @operation(
        "scenarios.list",
        touches="twins",
        scope=_READ,
        transaction="read",
        input=ListScenarios,
        result=Page,
        shows=Scenario,
    )
    async def scenarios(self, ctx: Context, wanted: ListScenarios) -> Page:
        """List what can be simulated of a twin, with the parameters that it takes."""
        known = listed(await _document_of(ctx, _twin(ctx, wanted.id)))
        first = (wanted.page - 1) * wanted.per_page
        shown = [{"id": each.name, **each.model_dump()} for each in known[first : first + wanted.per_page]]
        return Page([orjson.dumps(each).decode() for each in shown], wanted.page, wanted.per_page, len(known))


async def _document_of(ctx: Context, twin_id: UUID) -> dict[str, Any]:
    row = await ctx.db.fetchrow(SQL["twin_now"], twin_id)
    if row is None:
        no_twin()
    return orjson.loads(row["document"])


def _twin(ctx: Context, text: str) -> UUID:
    id = parse_id(text)
    if id is None or not ctx.caller.may_touch(id):
        no_twin()
    return id
