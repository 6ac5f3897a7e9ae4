"""How a revision of the database runs: the SQL file beside it, as hub_owner, in the revision's transaction."""

from pathlib import Path

import asyncpg
from alembic import op


def run_file(path: Path) -> None:
    """Run all statements of `path`. Called by a revision's `upgrade()` only."""
    statements = path.read_text()
    # Through SQLAlchemy a call takes one statement; the driver's own connection takes the whole file.
    adapted = op.get_bind().connection.dbapi_connection
    assert adapted is not None  # noqa: S101 - a bind that runs revisions is connected

    async def run(connection: asyncpg.Connection) -> None:
        await connection.execute(statements)

    adapted.run_async(run)
