"""What the commands for keys and organisations work with: a migrated database, as its owner."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.settings import Settings
from core.store.database import connect_as
from core.store.migrate import installation_secret, migrate
from core.store.statements import Statements
from hub.engines import engines_of


@dataclass(frozen=True, slots=True)
class Owner:
    """A connection as hub_owner, and the secret that keys are hashed with."""

    connection: Statements
    secret: str


@asynccontextmanager
async def owner_of(settings: Settings) -> AsyncGenerator[Owner]:
    """Connect beside whatever serves already; a database that was never migrated is."""
    async with engines_of(settings) as addresses:
        await migrate(addresses.database_url)
        secret = settings.secret or await installation_secret(addresses.database_url)
        connection = await connect_as(addresses.database_url, "hub_owner")
        try:
            yield Owner(connection, secret)
        finally:
            await connection.close()
