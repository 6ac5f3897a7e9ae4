"""The first key of a hub with its own engines: organisation `default`, every scope, kept in HUB_DATA/dev-key."""

import os
from pathlib import Path

from core.auth.caller import ALL_SCOPES
from core.auth.keys import create_key, hash_of
from core.auth.organisations import ensure_organisation
from core.store.database import connect_as
from core.store.statements import Statements

ORGANISATION = "default"
# An advisory lock, so that of several nodes at their first start one makes the key.
_LOCK = 0x6B6579


async def ensure_first_key(database_url: str, secret: str, data: Path) -> Path:
    """Make the key where the file is missing or names no key of this database; returns the file's path (mode 0600)."""
    file = data / "dev-key"
    connection = await connect_as(database_url, "hub_owner")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        if not await _is_known(connection, secret, file):
            organisation = await ensure_organisation(connection, ORGANISATION, "enterprise")
            _, key = await create_key(connection, secret, organisation.id, "first key", ALL_SCOPES)
            _write(file, key)
    finally:
        await connection.close()
    return file


async def _is_known(connection: Statements, secret: str, file: Path) -> bool:
    key = _read(file)
    return key is not None and bool(
        await connection.fetchval("SELECT EXISTS (SELECT FROM keys WHERE hash = $1)", hash_of(secret, key))
    )


def _read(file: Path) -> str | None:
    return file.read_text().strip() if file.is_file() else None


def _write(file: Path, key: str) -> None:
    # Written beside and renamed: whoever sees the file sees the whole key.
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(key + "\n")
    beside.rename(file)
