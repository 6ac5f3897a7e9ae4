"""Organisations, callers and keys for tests, made the way the command line makes them."""

import secrets
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from core.auth.caller import ALL_SCOPES, Caller
from core.auth.keys import create_key, revoke_key
from core.auth.organisations import ensure_organisation, set_limits
from core.auth.tiers import effective_limits
from core.ids import new_id
from core.store.database import Connection, connect_as
from tests.harness.installation import secret_of

# The limits stay on; they are only out of the way.
GENEROUS: Mapping[str, int | None] = {
    "requests_per_hour": 1_000_000_000,
    "burst": 100_000_000,
    "frames_per_second": 1_000_000,
    "bytes_per_second": 1_000_000_000,
}


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation of a test's database."""

    id: UUID
    slug: str
    tier: str
    database_url: str
    overrides: Mapping[str, int] = field(default_factory=dict[str, int])

    def caller(
        self, scopes: Collection[str] = ALL_SCOPES, *, resource_ids: Collection[UUID] | None = None, subject: str = ""
    ) -> Caller:
        """Return a caller of it, as an authenticator would."""
        return Caller(
            org_id=self.id,
            subject=subject or f"key:{new_id()}",
            scopes=frozenset(scopes),
            tier=self.tier,
            resource_ids=None if resource_ids is None else frozenset(resource_ids),
            own_limits=effective_limits(self.tier, self.overrides) if self.overrides else None,
        )

    async def key(
        self,
        scopes: Collection[str] = ALL_SCOPES,
        *,
        resource_ids: Collection[UUID] | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """Make a key of it and return the key."""
        _, key = await self.named_key(scopes, resource_ids=resource_ids, expires_at=expires_at)
        return key

    async def named_key(
        self,
        scopes: Collection[str] = ALL_SCOPES,
        *,
        resource_ids: Collection[UUID] | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[str, str]:
        """Make a key of it; return who comes by it, as `welcome` says it, and the key."""
        async with _as_owner(self.database_url) as connection:
            secret = await secret_of(self.database_url)
            record, key = await create_key(
                connection, secret, self.id, "of a test", scopes, resource_ids=resource_ids, expires_at=expires_at
            )
        return f"key:{record.id}", key

    async def rows(self, query: str, *args: object) -> list[Any]:
        """Return rows of its database, as the owner sees them."""
        async with _as_owner(self.database_url) as connection:
            return await connection.fetch(query, *args)

    @asynccontextmanager
    async def holding(self, kind: str) -> AsyncGenerator[None]:
        """Hold all of its resources of a kind: whoever wants to change one waits."""
        async with _as_owner(self.database_url) as connection, connection.transaction():
            await connection.fetch(f"SELECT 1 FROM {kind} WHERE org_id = $1 FOR UPDATE", self.id)  # noqa: S608 - a table's name
            yield

    async def revoke(self, key: str) -> None:
        """Revoke a key of it."""
        async with _as_owner(self.database_url) as connection:
            await revoke_key(connection, await secret_of(self.database_url), key)


class Organisations:
    """Makes organisations in one database."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url

    async def create(
        self, slug: str = "", *, tier: str = "enterprise", limits: Mapping[str, int | None] = GENEROUS
    ) -> Organisation:
        """Create an organisation; without a slug it gets a random one.

        It may make as many requests as a test likes; with empty `limits` those of its tier hold.
        """
        async with _as_owner(self.database_url) as connection:
            made = await ensure_organisation(connection, slug or f"org-{secrets.token_hex(5)}", tier)
            made = await set_limits(connection, made.slug, limits)
        return Organisation(made.id, made.slug, made.tier, self.database_url, made.overrides)

    async def limit(self, organisation: Organisation, **limits: int | None) -> None:
        """Give an organisation other limits, as `orgs set` does; None gives one back to the tier."""
        async with _as_owner(self.database_url) as connection:
            await set_limits(connection, organisation.slug, limits)

    async def audited(self, organisation: Organisation) -> list[tuple[str, int]]:
        """Return how often each outcome stands in an organisation's audit."""
        query = "SELECT outcome, count(*) FROM audit WHERE org_id = $1 GROUP BY outcome ORDER BY outcome"
        async with _as_owner(self.database_url) as connection:
            return [tuple(row) for row in await connection.fetch(query, organisation.id)]


@asynccontextmanager
async def _as_owner(database_url: str) -> AsyncGenerator[Connection]:
    connection = await connect_as(database_url, "hub_owner")
    try:
        yield connection
    finally:
        await connection.close()
