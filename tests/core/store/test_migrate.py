"""Migrations: from nothing to the newest revision, by several nodes at once, by a plain login."""

import asyncio
import secrets
import subprocess
import sys

import pytest
from alembic.script import ScriptDirectory

from core.store.database import connect_as
from core.store.engines import EngineUrls
from core.store.migrate import (
    MigrationError,
    current_revision,
    installation_secret,
    known_revisions,
    migrate,
    newest_revision,
)
from core.store.revisions import MIGRATIONS
from tests.harness.engines import execute_as_superuser, with_database


async def test_empty_database_is_brought_to_the_newest_revision(empty_database_url: str):
    """A first start needs nothing but an empty database."""
    assert await current_revision(empty_database_url) is None
    await migrate(empty_database_url)
    assert await current_revision(empty_database_url) == newest_revision()


def test_revisions_are_those_of_alembic():
    """They are read out of the files' names and first lines, so that a start goes without Alembic; its chain is in that order."""
    chain = ScriptDirectory(str(MIGRATIONS))
    assert newest_revision() == chain.get_current_head()
    assert known_revisions() == {each.revision for each in chain.walk_revisions()}


def test_start_imports_no_alembic():
    """It and SQLAlchemy are a fifth of what a hub's process would import, for what next to no start does."""
    found = "import sys, hub.main; print([name for name in ('alembic', 'sqlalchemy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_four_nodes_migrate_at_once(empty_database_url: str):
    """One migrates, the others wait and find nothing to do; all know one secret."""
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    secrets = {await installation_secret(empty_database_url) for _ in range(2)}
    assert len(secrets) == 1
    assert len(secrets.pop()) >= 32


async def test_application_role_has_no_rows_without_an_organisation_and_gains_nothing_by_reset(database_url: str):
    """RESET ROLE leads back to hub_app; the tables of the installation are not for it."""
    connection = await connect_as(database_url, "hub_app")
    try:
        assert await connection.fetchval("SELECT current_user") == "hub_app"
        assert await connection.fetchval("SELECT count(*) FROM organisations") == 0
        await connection.execute("RESET ROLE")
        assert await connection.fetchval("SELECT current_user") == "hub_app"
        allowed = await connection.fetchval("SELECT has_table_privilege('secrets', 'SELECT')")
        assert not allowed
    finally:
        await connection.close()


async def test_release_before_the_last_serves_a_database_of_the_newest(database_url: str):
    """Revisions only add: an old node that starts again during a deploy goes on, and changes nothing."""
    connection = await connect_as(database_url, "hub_owner")
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '9999_of_the_future'")
    finally:
        await connection.close()
    await migrate(database_url)
    assert await current_revision(database_url) == "9999_of_the_future"


async def test_database_in_another_encoding_is_refused(engines: EngineUrls):
    """It would take the schema, and then end requests that name things in other letters with INTERNAL_ERROR."""
    name = f"hub_test_{secrets.token_hex(4)}"
    made = f'CREATE DATABASE "{name}" TEMPLATE template0 ENCODING LATIN1 LOCALE_PROVIDER libc LOCALE "C"'
    await execute_as_superuser(engines, made)
    try:
        with pytest.raises(MigrationError, match="UTF8"):
            await migrate(with_database(engines.database_url, name))
    finally:
        await execute_as_superuser(engines, f'DROP DATABASE "{name}" WITH (FORCE)')
