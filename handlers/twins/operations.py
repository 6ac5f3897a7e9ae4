"""What can be done with digital twins."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from core.events.catalogue import EventType
from core.operations.context import Context
from core.operations.operation import Operation
from handlers.resources.crud import Resource
from handlers.resources.store import Beside
from handlers.twins.models import TwinBody
from handlers.twins.purging import Purging
from handlers.twins.simulation.written import check_written
from handlers.twins.simulations.happenings import SIMULATIONS
from handlers.twins.state.operations import TwinState
from handlers.twins.state.relating import check_targets, related
from handlers.twins.sync.following import follow_source
from handlers.twins.sync.happenings import SYNCS
from handlers.twins.telemetry.changing import follow_rules
from handlers.twins.telemetry.happenings import ALERTS


class Twins(Resource[TwinBody]):
    """Digital twins, kept as documents. What a deleted one has left is removed by `purges`."""

    kind = "twins"
    event = "twin"
    body = TwinBody

    def __init__(self, purging: Purging | None = None) -> None:
        super().__init__()
        # None: there is nobody to purge where operations are only looked at.
        self._purging = purging

    def event_types(self) -> list[EventType]:
        """Return the types of a twin's events, those of its simulations, alerts and synchronisation too."""
        return [*super().event_types(), *SIMULATIONS, *ALERTS, *SYNCS]

    def operations(self) -> list[Operation]:
        """Return the operations on twins, and those that look at their state."""
        return [*super().operations(), *TwinState().operations()]

    def beside(self, id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Beside | None:
        """Put the relationships into their table."""
        return related(id, before, after)

    async def verify(self, ctx: Context, before: Mapping[str, Any] | None, body: TwinBody) -> None:
        """Raise HubError where its model or a scenario cannot be run, or a relationship leads to no twin that the caller sees."""
        await check_written(before, body.model, body.scenarios)
        await check_targets(ctx.db, ctx.caller, before, body.relationships)

    def describe(self, body: TwinBody) -> tuple[str, str, str]:
        """Return name, type and status."""
        return body.name, body.type, body.status

    async def follow(
        self, ctx: Context, id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        """Watch its rules and plan when its data is fetched; of a deleted twin have removed what is left."""
        await follow_rules(ctx, id, before, after)
        await follow_source(ctx, id, before, after)
        if after is None and self._purging is not None:
            await self._purging.gone(ctx, id)
