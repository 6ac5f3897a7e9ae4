"""Organisations for the command line: made, listed, given a tier and limits. Takes a connection of role hub_owner.

Every function that is given an `organisation` takes its slug or its id, and raises HubError RESOURCE_NOT_FOUND where there is none.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.auth.tiers import LIMIT_NAMES, TIERS, Limits, effective_limits
from core.errors import HubError
from core.ids import new_id, parse_id
from core.store.queries import load_queries
from core.store.statements import Statements

_SQL = load_queries(Path(__file__).with_name("queries.sql"))
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
DEFAULT_TIER = "free"
# More than any machine serves in an hour, and exact in JSON readers that count in doubles.
MOST = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation; `overrides` are the limits that it has instead of its tier's."""

    id: UUID
    slug: str
    tier: str
    overrides: Mapping[str, int]
    created_at: datetime

    @property
    def limits(self) -> Limits:
        """The limits that hold."""
        return effective_limits(self.tier, self.overrides)


def is_slug(text: str) -> bool:
    """Tell whether an organisation may be called `text`: no UUID, since a name may be given in place of an id."""
    return _SLUG.fullmatch(text) is not None and parse_id(text) is None


async def ensure_organisation(connection: Statements, slug: str, tier: str | None = None) -> Organisation:
    """Return the organisation of this slug, made with `tier` (`free` where None) if it is missing.

    One that exists keeps its tier. Any number of processes may call this at once: one makes it, all get it. Raises HubError
    VALIDATION_ERROR for a slug or a tier that cannot be.
    """
    if not is_slug(slug):
        raise HubError(
            "VALIDATION_ERROR",
            f"{slug!r} cannot be an organisation's slug: 1 to 63 of a-z, 0-9, - and _, a letter or digit first, and no UUID",
        )
    wanted = DEFAULT_TIER if tier is None else _known_tier(tier)
    row = await connection.fetchrow(_SQL["insert_organisation"], new_id(), slug, wanted)
    return await find_organisation(connection, slug) if row is None else _organisation(row)


async def find_organisation(connection: Statements, organisation: str) -> Organisation:
    """Return an organisation."""
    return _found(await connection.fetchrow(_SQL["read_organisation"], *_names(organisation)), organisation)


async def list_organisations(connection: Statements) -> list[Organisation]:
    """Return all organisations by slug."""
    return [_organisation(row) for row in await connection.fetch(_SQL["list_organisations"])]


async def set_tier(connection: Statements, organisation: str, tier: str) -> Organisation:
    """Give an organisation another tier; its overrides stay. Raises HubError VALIDATION_ERROR for an unknown tier."""
    row = await connection.fetchrow(_SQL["set_tier"], *_names(organisation), _known_tier(tier))
    return _found(row, organisation)


async def set_limits(connection: Statements, organisation: str, limits: Mapping[str, int | None]) -> Organisation:
    """Override limits of an organisation; None gives one back to the tier; those not named stay as they are.

    Raises HubError VALIDATION_ERROR for an unknown name or a value that is no whole number from 0 up.
    """
    for name, value in limits.items():
        _check_limit(name, value)
    added = orjson.dumps({name: value for name, value in limits.items() if value is not None}).decode()
    removed = [name for name, value in limits.items() if value is None]
    row = await connection.fetchrow(_SQL["set_limits"], *_names(organisation), added, removed)
    return _found(row, organisation)


def parse_limits(items: Sequence[str]) -> dict[str, int | None]:
    """Read limits as the command line has them: `burst=50`; `burst=` or `burst=default` gives it back to the tier.

    Raises HubError VALIDATION_ERROR that names the wrong item.
    """
    parsed: dict[str, int | None] = {}
    for item in items:
        name, equals, text = item.partition("=")
        unset = text in ("", "default")
        if not equals or not (unset or (text.isascii() and text.isdecimal() and len(text) <= 16)):
            raise HubError("VALIDATION_ERROR", f"{item!r} is no limit: write NAME=NUMBER, or NAME= for the tier's own")
        parsed[name] = None if unset else int(text)
        _check_limit(name, parsed[name])
    return parsed


def _check_limit(name: str, value: object) -> None:
    if name not in LIMIT_NAMES:
        raise HubError("VALIDATION_ERROR", f"there is no limit {name!r}; there are {', '.join(LIMIT_NAMES)}")
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise HubError("VALIDATION_ERROR", f"{name} must be a whole number from 0 to {MOST}")


def _known_tier(tier: str) -> str:
    if tier not in TIERS:
        raise HubError("VALIDATION_ERROR", f"there is no tier {tier!r}; there are {', '.join(TIERS)}")
    return tier


def _names(organisation: str) -> tuple[str, UUID | None]:
    # A NUL cannot be sent to PostgreSQL, and no slug has one.
    return organisation.replace("\0", "\ufffd"), parse_id(organisation)


def _found(row: Any, organisation: str) -> Organisation:
    if row is None:
        raise HubError("RESOURCE_NOT_FOUND", f"there is no organisation {organisation!r}")
    return _organisation(row)


def _organisation(row: Any) -> Organisation:
    return Organisation(row["id"], row["slug"], row["tier"], orjson.loads(row["limits"]), row["created_at"])
