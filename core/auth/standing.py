"""Callers, made of what the database says about a key or an organisation."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.auth.reference import KeyReference, TokenReference
from core.auth.tiers import Limits, effective_limits


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation as far as a caller needs it; `own_limits` is None where its tier's hold."""

    id: UUID
    tier: str
    own_limits: Limits | None


def organisation_of(row: Any) -> Organisation:
    """Read a row of find_organisations."""
    return Organisation(row["id"], row["tier"], _own_limits(row))


def key_caller(row: Any) -> Caller:
    """Read a row of find_keys."""
    resource_ids = row["resource_ids"]
    return Caller(
        org_id=row["org_id"],
        subject=f"key:{row['id']}",
        scopes=frozenset(row["scopes"]),
        tier=row["tier"],
        resource_ids=None if resource_ids is None else frozenset(resource_ids),
        expires_at=row["expires_at"],
        own_limits=_own_limits(row),
        reference=KeyReference(row["hash"]),
    )


def token_caller(reference: TokenReference, organisation: Organisation) -> Caller:
    """Return the caller that a token of `organisation` speaks for."""
    claims = reference.claims
    return Caller(
        org_id=organisation.id,
        subject=claims.subject,
        scopes=claims.scopes,
        tier=organisation.tier,
        resource_ids=claims.resource_ids,
        expires_at=claims.expires_at,
        own_limits=organisation.own_limits,
        reference=reference,
    )


def _own_limits(row: Any) -> Limits | None:
    # Most have none, and a node asks about thousands every second.
    return None if row["limits"] == "{}" else effective_limits(row["tier"], orjson.loads(row["limits"]))
