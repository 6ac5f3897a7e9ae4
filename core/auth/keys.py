"""API keys: what one looks like, how it is stored, and the commands that make, list and revoke them.

    aim_live_<43 characters><6 characters>      aim_test_... for keys that are marked as not meant for real data

The 43 characters are base62 and carry 256 bits from the machine's randomness. The 6 are the CRC-32 of all before them, in base62: a
typing error, or a scanner's false find, is refused without a look-up. They keep no secret. Stored is only the HMAC-SHA256 of the
whole key under the installation's secret, so that neither the table nor the secret alone is worth anything.
"""

import hmac
import re
import secrets
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import asyncpg

from core.auth.caller import ALL_SCOPES
from core.errors import Detail, HubError
from core.ids import new_id, parse_id
from core.store.queries import load_queries
from core.store.statements import Statements

Mode = Literal["live", "test"]

PREFIX = "aim_"
_SQL = load_queries(Path(__file__).with_name("queries.sql"))
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM = 43  # 62 ** 43 is just over 2 ** 256
_CHECK = 6  # 62 ** 6 is over 2 ** 32
_SHAPE = re.compile(rf"aim_(?:live|test)_[0-9A-Za-z]{{{_RANDOM + _CHECK}}}")
KEY_LENGTH = len("aim_live_") + _RANDOM + _CHECK
# The prefix and four characters: enough to tell keys apart, and 24 bits less to guess of 256.
HINT = len("aim_live_") + 4
_LONGEST_NAME = 200
_MOST_RESOURCES = 1_000


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is listed. The key itself is not in it, and nobody can get it back.

    `old_until` is the end of the secret before the last rotation, None where there was none.
    """

    id: UUID
    org_id: UUID
    name: str
    hint: str
    scopes: tuple[str, ...]
    resource_ids: tuple[UUID, ...] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    updated_at: datetime | None
    old_until: datetime | None
    version: int


def make_key(mode: Mode = "live") -> str:
    """Return a new key."""
    body = f"{PREFIX}{mode}_{''.join(secrets.choice(_DIGITS) for _ in range(_RANDOM))}"
    return body + _checksum(body)


def is_key(text: str) -> bool:
    """Tell whether `text` has a key's form and checksum; whether there is such a key is another question."""
    return _SHAPE.fullmatch(text) is not None and text[-_CHECK:] == _checksum(text[:-_CHECK])


def hash_of(secret: str, key: str) -> bytes:
    """Return what is stored of a key."""
    return hmac.digest(secret.encode(), key.encode(), "sha256")


async def create_key(
    connection: Statements,
    secret: str,
    org_id: UUID,
    name: str,
    scopes: Collection[str],
    *,
    resource_ids: Collection[UUID] | None = None,
    expires_at: datetime | None = None,
    mode: Mode = "live",
) -> tuple[KeyRecord, str]:
    """Make a key of an organisation; returns its record and the key, which is never to be seen again.

    `resource_ids` None lets it touch everything of the organisation. Raises HubError VALIDATION_ERROR for scopes that there are
    not (each is named), for no scopes, a name that is empty or over 200 characters, or a time without a zone;
    RESOURCE_NOT_FOUND for an unknown organisation.
    """
    check_key(name, scopes)
    _check_rest(resource_ids, expires_at)
    key = make_key(mode)
    try:
        row = await connection.fetchrow(
            _SQL["insert_key"],
            new_id(),
            org_id,
            name,
            key[:HINT],
            hash_of(secret, key),
            sorted(set(scopes)),
            None if resource_ids is None else sorted(set(resource_ids)),
            expires_at,
        )
    except asyncpg.ForeignKeyViolationError as error:
        raise HubError("RESOURCE_NOT_FOUND", f"there is no organisation {org_id}") from error
    return record_of(row), key


async def list_keys(connection: Statements, org_id: UUID | None = None) -> list[KeyRecord]:
    """Return the keys of an organisation, or of all, oldest first, revoked and expired ones too."""
    return [record_of(row) for row in await connection.fetch(_SQL["list_keys"], org_id)]


async def revoke_key(connection: Statements, secret: str, key: str) -> KeyRecord:
    """Revoke a key, given its id or the key itself; once more changes nothing. Nodes stop taking it within 2 s.

    Raises HubError RESOURCE_NOT_FOUND where there is none; the text does not repeat what was given.
    """
    key_id = parse_id(key)
    key_hash = hash_of(secret, key) if is_key(key) else None
    row = None
    if key_id is not None or key_hash is not None:
        row = await connection.fetchrow(_SQL["revoke_key"], key_id, key_hash)
    if row is None:
        raise HubError("RESOURCE_NOT_FOUND", "there is no such key")
    return record_of(row)


def parse_scopes(text: str) -> list[str]:
    """Read scopes as people write them, separated by spaces or commas; raises HubError VALIDATION_ERROR for unknown ones."""
    scopes = text.replace(",", " ").split()
    check_scope_names(scopes)
    return scopes


def _checksum(body: str) -> str:
    rest = zlib.crc32(body.encode())
    digits: list[str] = []
    for _ in range(_CHECK):
        rest, digit = divmod(rest, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def check_key(name: str, scopes: Collection[str]) -> Collection[str]:
    """Return the scopes where a key can have this name and these scopes; raises HubError VALIDATION_ERROR."""
    check_scope_names(scopes)
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise HubError("VALIDATION_ERROR", f"a key's name has 1 to {_LONGEST_NAME} characters that can be printed")
    return scopes


def check_scope_names(scopes: Collection[str]) -> None:
    """Return where there are scopes, all of which exist; raises HubError VALIDATION_ERROR that names the others."""
    unknown = [scope for scope in scopes if scope not in ALL_SCOPES]
    if unknown:
        raise HubError(
            "VALIDATION_ERROR",
            f"there is no scope {', '.join(unknown)}; there are {', '.join(sorted(ALL_SCOPES))}",
            _scope_details(scopes),
        )
    if not scopes:
        raise HubError("VALIDATION_ERROR", "a key needs at least one scope")


def _scope_details(scopes: Collection[str]) -> Sequence[Detail]:
    return [
        Detail(f"scopes[{index}]", "INVALID_FORMAT", f"there is no scope {scope}")
        for index, scope in enumerate(scopes)
        if scope not in ALL_SCOPES
    ]


def _check_rest(resource_ids: Collection[UUID] | None, expires_at: datetime | None) -> None:
    if resource_ids is not None and len(resource_ids) > _MOST_RESOURCES:
        raise HubError("VALIDATION_ERROR", f"a key can be restricted to at most {_MOST_RESOURCES} resources")
    if expires_at is not None and expires_at.tzinfo is None:
        raise HubError("VALIDATION_ERROR", "the end of a key needs a time zone")


def record_of(row: Any) -> KeyRecord:
    """Read a row of keys that has all the columns of a KeyRecord."""
    resource_ids = row["resource_ids"]
    return KeyRecord(
        id=row["id"],
        org_id=row["org_id"],
        name=row["name"],
        hint=row["hint"],
        scopes=tuple(row["scopes"]),
        resource_ids=None if resource_ids is None else tuple(resource_ids),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        updated_at=row["updated_at"],
        old_until=row["old_until"],
        version=row["version"],
    )
