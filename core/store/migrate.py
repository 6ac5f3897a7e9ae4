"""Bringing a database to the newest revision: roles and schema, Alembic's revisions, the installation's secret and name.

Safe to run by several nodes at once: an advisory lock lets one through, the others find nothing to do.
"""

import secrets
from pathlib import Path
from typing import Any

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection as SqlalchemyConnection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from core.store.database import connect_as

_HERE = Path(__file__).parent
_LOCK = 0x61696D
LEAST_SERVER = 160000
_IS_MIGRATED = """
SELECT EXISTS (
    SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'hub' AND relname = 'alembic_version'
)
"""


class MigrationError(Exception):
    """The database cannot be brought to the newest revision; the message says why and what helps."""


def newest_revision() -> str:
    """Return the newest revision that this release knows."""
    head = ScriptDirectory(str(_HERE / "migrations")).get_current_head()
    assert head is not None  # noqa: S101 - the release has revisions
    return head


def known_revisions() -> frozenset[str]:
    """Return every revision that this release knows."""
    return frozenset(each.revision for each in ScriptDirectory(str(_HERE / "migrations")).walk_revisions())


async def current_revision(url: str) -> str | None:
    """Return the revision of the database, None for one that was never migrated."""
    connection = await connect_as(url, None)
    try:
        # The catalogue answers to everyone; the schema itself is closed to the bare login.
        if not await connection.fetchval(_IS_MIGRATED):
            return None
        await connection.execute("SET ROLE hub_owner")
        return await connection.fetchval("SELECT version_num FROM hub.alembic_version")
    finally:
        await connection.close()


async def migrate(url: str) -> None:
    """Bring the database at `url` to the newest revision.

    Raises MigrationError when the server is too old, the database is not in UTF8, or the login may not make roles.
    """
    guard = await connect_as(url, None, lock_timeout="0", statement_timeout="0")
    try:
        version = int(str(await guard.fetchval("SHOW server_version_num")))
        if version < LEAST_SERVER:
            raise MigrationError(f"PostgreSQL 16 or later is needed; this one is {version // 10000}")
        encoding = await guard.fetchval("SHOW server_encoding")
        if encoding != "UTF8":
            # It would take the schema, and then refuse the first name that it has no letters for.
            raise MigrationError(f"The database must be in UTF8, this one is in {encoding}: make another one")
        await guard.execute("SELECT pg_advisory_lock($1)", _LOCK)
        try:
            await guard.execute((_HERE / "bootstrap.sql").read_text())
        except asyncpg.InsufficientPrivilegeError as error:
            raise MigrationError(
                f"{error}: the login of DATABASE_URL needs CREATEROLE and CREATE on the database, for the first migration"
            ) from error
        await _upgrade(url)
        await _make_secret(guard)
    finally:
        await guard.close()


async def _upgrade(url: str) -> None:
    async def connect() -> Any:
        return await connect_as(url, "hub_owner", lock_timeout="0", statement_timeout="0")

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run_revisions)
            await connection.commit()
    finally:
        await engine.dispose()


def _run_revisions(connection: SqlalchemyConnection) -> None:
    config = Config()
    config.set_main_option("script_location", str(_HERE / "migrations"))
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection, opts={"version_table_schema": "hub"}).get_current_revision()
    if current is not None and current not in known_revisions():
        # A newer release was here. Revisions only add, so this one goes on: that is how two run side by side during a deploy.
        structlog.get_logger().warning("database_is_newer", revision=current, newest_known=newest_revision())
    elif current != newest_revision():
        command.upgrade(config, "head")


async def _make_secret(guard: asyncpg.Connection) -> None:
    await guard.execute("SET ROLE hub_owner")
    await guard.execute(
        "INSERT INTO hub.secrets (name, value) VALUES ('keys', $1), ('installation', $2) ON CONFLICT DO NOTHING",
        secrets.token_urlsafe(48),
        secrets.token_hex(8),
    )


async def installation_secret(url: str) -> str:
    """Return the secret under which API keys are hashed, made by the first migration."""
    return await _value_of(url, "keys")


async def installation_id(url: str) -> str:
    """Return the name of this installation, which no other has; made by a migration, and no secret."""
    return await _value_of(url, "installation")


async def _value_of(url: str, name: str) -> str:
    connection = await connect_as(url, "hub_owner")
    try:
        return str(await connection.fetchval("SELECT value FROM hub.secrets WHERE name = $1", name))
    finally:
        await connection.close()
