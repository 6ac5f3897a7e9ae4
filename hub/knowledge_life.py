"""The life of knowledge bases, wired for one node: the log of queries, figures for the metrics, what is tidied."""

from collections.abc import Mapping
from functools import partial

from core.clock import Clock
from core.operations.housekeeping import Housekeeping
from core.settings import Settings
from core.store.database import Database
from handlers.knowledge.life.figures import KnowledgeFigures
from handlers.knowledge.life.query_log import QueryLog
from handlers.knowledge.life.sweeping import fold_counts, sweep_queries

# Until then each change of a document is a row that its base's statistics add up.
TIDIED_SECONDS = 60.0


class KnowledgeLifeParts:
    """`queries` takes what is asked. `close` comes after what runs has ended."""

    def __init__(self, settings: Settings, url: str, clock: Clock) -> None:
        self._system = Database(url, role="hub_system", size=1)
        self.queries = QueryLog(url, clock, settings.query_log)
        self.figures = KnowledgeFigures(self._system, clock)

    @property
    def running(self) -> Mapping[str, QueryLog | KnowledgeFigures]:
        """What works in the background, by name."""
        return {"queries": self.queries, "knowledge": self.figures}

    async def close(self) -> None:
        """Write what is left, and close the connections."""
        await self.queries.close()
        await self._system.close()


def tidying_of(settings: Settings, database: Database) -> Housekeeping:
    """Return what keeps counts short and forgets old queries; for every process that does jobs."""
    sweeps = {
        "counts": partial(fold_counts, database),
        "queries": partial(sweep_queries, database, settings.query_log_days),
    }
    return Housekeeping("knowledge.tidy", TIDIED_SECONDS, sweeps)
