"""What a credential leaves behind once it was accepted: enough to ask again whether it still holds, without the credential itself.

An open socket is asked about every second by its reference, and a ticket carries one. Neither can be used as a credential.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says. `organisation` is an id or a slug as the issuer wrote it; scopes that the hub has not are gone.

    `resource_ids` is None where the token may touch all of the organisation's resources.
    """

    subject: str
    organisation: str
    scopes: frozenset[str]
    expires_at: datetime
    resource_ids: frozenset[UUID] | None = None


@dataclass(frozen=True, slots=True)
class KeyReference:
    """An API key, by what is stored of it."""

    key_hash: bytes


@dataclass(frozen=True, slots=True)
class TokenReference:
    """A token that was verified: what it says, and the key that its issuer signed it with."""

    issuer: str
    kid: str | None
    claims: Claims


Reference = KeyReference | TokenReference
