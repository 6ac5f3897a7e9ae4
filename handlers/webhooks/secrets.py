"""Secrets that webhooks are signed with: made, kept sealed, and used (Standard Webhooks 1.0, "Signature scheme").

The hub has to sign, so a secret is no hash: it is encrypted under the installation's secret, for one webhook, by AES-256-GCM. A
dump without HUB_SECRET opens none.
"""

import base64
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from standardwebhooks import Webhook

PREFIX = "whsec_"
# Standard Webhooks 1.0, "Signature scheme": between 24 and 64 bytes.
_BYTES = 32
_NONCE_BYTES = 12


def make_secret() -> str:
    """Return a new secret as receivers know it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


@dataclass(frozen=True, slots=True)
class Seal:
    """Seals and opens secrets; `installation` is the secret of the whole hub."""

    installation: str = field(repr=False)

    def seal(self, org_id: UUID, webhook: UUID, secret: str) -> str:
        """Return what is kept of a webhook's secret."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher(org_id, webhook).encrypt(nonce, secret.encode(), None)).decode()

    def open(self, org_id: UUID, webhook: UUID, sealed: str) -> str | None:
        """Return a webhook's secret; None where it was sealed under another secret of the hub."""
        kept = base64.b64decode(sealed)
        try:
            return self._cipher(org_id, webhook).decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], None).decode()
        except InvalidTag:
            return None

    def _cipher(self, org_id: UUID, webhook: UUID) -> AESGCM:
        whose = f"webhook secret {org_id} {webhook}"
        return AESGCM(hmac.digest(self.installation.encode(), whose.encode(), "sha256"))


def signature(keys: Iterable[str], id: str, at: datetime, body: str) -> str:
    """Return the value of `webhook-signature`: one signature a secret, so that a receiver with either of two is content."""
    return " ".join(Webhook(key).sign(id, at, body) for key in keys)
