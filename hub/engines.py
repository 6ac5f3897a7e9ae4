"""Where PostgreSQL and Redis are: as the settings say, else the hub's own engines in HUB_DATA."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.settings import Settings
from core.store.engines import start_engines


@dataclass(frozen=True, slots=True)
class Addresses:
    """The engines of this hub; `embedded` where PostgreSQL is its own."""

    database_url: str
    redis_url: str
    embedded: bool


@asynccontextmanager
async def engines_of(settings: Settings) -> AsyncGenerator[Addresses]:
    """Give the addresses; engines of its own run at least as long as this context.

    Raises EnginesUnavailable where they are needed and cannot run.
    """
    if settings.database_url is not None and settings.redis_url is not None:
        yield Addresses(settings.database_url, settings.redis_url, embedded=False)
        return
    engines = await start_engines(settings.data, user=settings.engine_user)
    try:
        yield Addresses(
            settings.database_url or engines.urls.database_url,
            settings.redis_url or engines.urls.redis_url,
            embedded=settings.database_url is None,
        )
    finally:
        engines.close()
