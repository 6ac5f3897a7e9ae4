"""Bringing a database to the newest revision: roles and schema, Alembic's revisions, the installation's secret and name.

Safe to run by several nodes at once: an advisory lock lets one through, the others find nothing to do.
"""

import re
import secrets
from pathlib import Path

import asyncpg
import structlog

from core.store.database import connect_as

_HERE = Path(__file__).parent
_LOCK = 0x61696D
_REVISION = re.compile(r'^revision = "(\w+)"$', re.MULTILINE)
LEAST_SERVER = 160000
_IS_MIGRATED = """
SELECT EXISTS (
    SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'hub' AND relname = 'alembic_version'
)
"""


class MigrationError(Exception):
    """The database cannot be brought to the newest revision; the message says why and what helps."""


def _revisions() -> list[str]:
    """Return the revisions of this release, the oldest first: their files are numbered."""
    files = sorted((_HERE / "migrations" / "versions").glob("*.py"))
    return [_REVISION.findall(file.read_text())[0] for file in files]


def newest_revision() -> str:
    """Return the newest revision that this release knows."""
    return _revisions()[-1]


def known_revisions() -> frozenset[str]:
    """Return every revision that this release knows."""
    return frozenset(_revisions())


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
        await guard.execute("SET ROLE hub_owner")
        await guard.execute("SELECT hub.make_vectors()")  # pgvector may have come since
        await _make_secret(guard)
    finally:
        await guard.close()


async def _upgrade(url: str) -> None:
    current = await current_revision(url)
    if current == newest_revision():
        return
    if current is not None and current not in known_revisions():
        # A newer release was here. Revisions only add, so this one goes on: that is how two run side by side during a deploy.
        structlog.get_logger().warning("database_is_newer", revision=current, newest_known=newest_revision())
        return
    # Alembic takes a fifth of a process's start to import, and hardly a start has something to upgrade.
    from core.store.revisions import upgrade

    await upgrade(url)


async def _make_secret(guard: asyncpg.Connection) -> None:
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
