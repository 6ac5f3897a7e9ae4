"""PostgreSQL and Valkey of the hub's own, for whoever gave it neither DATABASE_URL nor REDIS_URL.

`start_engines` gives addresses that answer; everything else here is how: a detached supervisor owns both engines, and lives
as long as any hub process of the data folder does. docs: "Embedded engines" in docs/architecture.md.
"""

from typing import TYPE_CHECKING, Any

from core.store.engines.unavailable import EnginesUnavailable

if TYPE_CHECKING:
    from core.store.engines.attach import Engines, EngineUrls, start_engines

__all__ = ["EngineUrls", "Engines", "EnginesUnavailable", "start_engines"]


def __getattr__(name: str) -> Any:
    # The supervisor is of this package too: without asyncio and the hub's libraries it is half as large and starts in half
    # the time.
    if name not in __all__:
        raise AttributeError(name)
    from core.store.engines import attach

    return getattr(attach, name)
