"""Sessions of their own, beside the pool: what they are lost by, and how they are closed."""

import asyncio

import asyncpg

from core.store.database import Connection

# The internal error is asyncpg's answer between a server's last words and the end of the connection.
DATABASE_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


async def close_session(connection: Connection) -> None:
    """Close the session, and with it its locks; one that does not answer is dropped."""
    try:
        await connection.close(timeout=1)
    except DATABASE_AWAY:
        connection.terminate()
    except asyncio.CancelledError:
        connection.terminate()
        raise
