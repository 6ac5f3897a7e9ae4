"""Events of applications are held against the schemas of their types, where these have one."""

from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from uuid import UUID

import orjson

from core.auth.bounded import BoundedCache
from core.errors import Detail, HubError
from core.operations.context import Context
from core.store.queries import load_queries
from handlers.events.custom import NewEvent
from handlers.events.schemas import MOST_WORK, Compiled, compiled

_SQL = load_queries(Path(__file__).with_name("registered.sql"))
# Schemas that a node keeps ready, of all organisations; one takes at most some hundred kilobytes.
MOST_KEPT = 256
_MOST_TOLD = 100


class Checking:
    """Checks events. What it keeps is found by the revision of the type, which no other version has."""

    def __init__(self) -> None:
        self._kept: BoundedCache[tuple[UUID, str, UUID], Compiled] = BoundedCache(MOST_KEPT)

    async def check(
        self,
        ctx: Context,
        events: Sequence[NewEvent],
        texts: Sequence[bytes],
        places: Sequence[str],
        revisions: Mapping[str, UUID],
    ) -> None:
        """Raise HubError VALIDATION_ERROR with what is wrong with the data of `events`.

        `texts` are their data as JSON, `places` what stands before their fields, `revisions` those of the types that have schemas.
        """
        if not revisions:
            return
        schemas = await self._schemas(ctx, revisions)
        left = MOST_WORK
        wrong: list[Detail] = []
        for event, text, place in zip(events, texts, places, strict=True):
            schema = schemas.get(event.type)
            if schema is None:
                continue
            work = schema.work(text)
            left -= work
            if left < 0:
                _too_much(f"{place}data")
            wrong += schema.problems(event.data, work, f"{place}data")
        if wrong:
            raise HubError("VALIDATION_ERROR", details=wrong[:_MOST_TOLD])

    async def _schemas(self, ctx: Context, revisions: Mapping[str, UUID]) -> Mapping[str, Compiled]:
        org_id = ctx.caller.org_id
        found = {name: self._kept.get((org_id, name, revision), 0) for name, revision in revisions.items()}
        missing = [name for name, schema in found.items() if schema is None]
        rows = await ctx.db.fetch(_SQL["schemas"], missing) if missing else ()
        for row in rows:
            schema = compiled(orjson.loads(row["schema"]), "schema")
            found[row["name"]] = schema
            self._kept.put((org_id, row["name"], row["revision"]), schema, inf)
        return {name: schema for name, schema in found.items() if schema is not None}


def _too_much(place: str) -> None:
    message = "With the schemas of their types this is more than is checked at once: send fewer or smaller events"
    raise HubError("VALIDATION_ERROR", details=[Detail(place, "VALUE_OUT_OF_RANGE", message)])
