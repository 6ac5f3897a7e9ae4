"""`migrate`: the database to the newest revision, or a new epoch of the log after a restore."""

import argparse

from core.events.epoch import new_epoch
from core.settings import Settings
from core.store.migrate import migrate, newest_revision
from hub.engines import engines_of


async def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Migrate, and begin a new epoch where it is asked for."""
    async with engines_of(settings) as addresses:
        await migrate(addresses.database_url)
        print(f"The database is at revision {newest_revision()}")  # noqa: T201 - the command's answer
        if arguments.new_epoch:
            epoch = await new_epoch(addresses.database_url)
            print(f"The log's epoch is now {epoch}: clients read from its head")  # noqa: T201 - the command's answer
    return 0
