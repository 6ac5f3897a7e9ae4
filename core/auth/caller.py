"""The caller of an operation, however it came in, and the scopes that it can have."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from core.auth.reference import Reference
from core.auth.tiers import TIERS, Limits

RESOURCES_WITH_SCOPES = (
    "agents",
    "knowledge",
    "twins",
    "events",
    "webhooks",
    "subscriptions",
    "queues",
    "streams",
    "connections",
    "keys",
    "audit",
)
ADMIN_SCOPE = "hub:admin"
MODERATE_SCOPE = "moderate:streams"
ALL_SCOPES = frozenset(
    {f"{verb}:{resource}" for verb in ("read", "write") for resource in RESOURCES_WITH_SCOPES}
    | {ADMIN_SCOPE, MODERATE_SCOPE}
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller; `subject` is `key:<id>` of a key and `sub` of a token.

    `resource_ids` is None where the caller may touch every resource of its organisation. `expires_at` is the end of the
    credential, None where it has none. `reference` is what the credential left to ask about it again; two callers may differ in it
    and be the same.
    """

    org_id: UUID
    subject: str
    scopes: frozenset[str]
    tier: str
    resource_ids: frozenset[UUID] | None = None
    expires_at: datetime | None = None
    own_limits: Limits | None = None  # where its organisation has others than its tier's
    reference: Reference | None = field(default=None, compare=False, repr=False)

    @property
    def limits(self) -> Limits:
        """The limits of the organisation."""
        return self.own_limits or TIERS[self.tier]

    def has(self, scope: str) -> bool:
        """Tell whether the caller holds `scope`."""
        return scope in self.scopes

    def may_touch(self, resource_id: UUID) -> bool:
        """Tell whether the caller may touch the resource with this id."""
        return self.resource_ids is None or resource_id in self.resource_ids
