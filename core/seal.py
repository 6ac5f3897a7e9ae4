"""Secrets that the hub has to know again: kept encrypted under the installation's secret, each for one purpose, by AES-256-GCM.

A dump without HUB_SECRET opens none, and what was sealed for one purpose opens for no other.
"""

import base64
import hmac
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Seal:
    """Seals and opens secrets; `installation` is the secret of the whole hub. A purpose names whose the secret is."""

    installation: str = field(repr=False)

    def seal(self, purpose: str, secret: str) -> str:
        """Return what is kept of a secret."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher(purpose).encrypt(nonce, secret.encode(), None)).decode()

    def open(self, purpose: str, sealed: str) -> str | None:
        """Return a secret; None where it was sealed for another purpose, or under another secret of the hub."""
        kept = base64.b64decode(sealed)
        try:
            return self._cipher(purpose).decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], None).decode()
        except InvalidTag:
            return None

    def _cipher(self, purpose: str) -> AESGCM:
        return AESGCM(hmac.digest(self.installation.encode(), purpose.encode(), "sha256"))
