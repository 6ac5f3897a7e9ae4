"""Secrets that webhooks are signed with: made, and used (Standard Webhooks 1.0, "Signature scheme").

The hub has to sign, so a secret is no hash: it is kept sealed, for one webhook.
"""

import base64
import secrets
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from standardwebhooks import Webhook

PREFIX = "whsec_"
# Standard Webhooks 1.0, "Signature scheme": between 24 and 64 bytes.
_BYTES = 32


def make_secret() -> str:
    """Return a new secret as receivers know it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def purpose_of(org_id: UUID, webhook: UUID) -> str:
    """Return what a webhook's secret is sealed for (core/seal.py)."""
    return f"webhook secret {org_id} {webhook}"


def signature(keys: Iterable[str], id: str, at: datetime, body: str) -> str:
    """Return the value of `webhook-signature`: one signature a secret, so that a receiver with either of two is content."""
    return " ".join(Webhook(key).sign(id, at, body) for key in keys)
