"""Tickets: what a page opens its stream with, since a browser cannot set headers on a WebSocket and an address gets logged.

A ticket is worth one stream, for 30 s. It carries its maker's credential by reference, so that a revocation or an expiry holds for
the socket as if the credential itself had been sent. Redis keeps it under its hash and signed under the installation's secret: who
reads Redis gets no ticket, who writes it makes none.
"""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from redis.exceptions import RedisError

from core.auth.reference import Claims, KeyReference, Reference, TokenReference
from core.clock import Clock
from core.errors import HubError
from core.store.redis import Redis

LIFE_SECONDS = 30
_PREFIX = "tkt_"
_BYTES = 32
_LENGTH = len(_PREFIX) + 43
_SIGNATURE = hashlib.sha256().digest_size


class Tickets:
    """Makes and takes tickets. Raises HubError SERVICE_UNAVAILABLE while Redis is away."""

    def __init__(self, redis: Redis, secret: str, clock: Clock) -> None:
        self._redis = redis
        self._secret = secret.encode()
        self._clock = clock

    async def issue(self, reference: Reference) -> tuple[str, datetime]:
        """Return a ticket, and when it ends."""
        ticket = _PREFIX + secrets.token_urlsafe(_BYTES)
        expires_at = self._clock.now() + timedelta(seconds=LIFE_SECONDS)
        payload = orjson.dumps({**_written(reference), "until": expires_at.timestamp()})
        try:
            await self._redis.set(_key_of(ticket), self._sign(ticket, payload) + payload, ex=LIFE_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            raise _unavailable() from error
        return ticket, expires_at

    async def redeem(self, ticket: str) -> Reference:
        """Return what a ticket stands for, once; raises HubError INVALID_TICKET for one that was used, is late or never was."""
        if not ticket.isascii() or len(ticket) != _LENGTH:
            raise HubError("INVALID_TICKET")
        try:
            kept = await self._redis.getdel(_key_of(ticket))
        except (RedisError, OSError, TimeoutError) as error:
            # It may have been taken: only a new ticket is sure to work.
            raise _unavailable() from error
        if not isinstance(kept, bytes):
            raise HubError("INVALID_TICKET", "The ticket was used, is over 30 s old, or never was")
        payload = kept[_SIGNATURE:]
        if not hmac.compare_digest(kept[:_SIGNATURE], self._sign(ticket, payload)):
            raise HubError("INVALID_TICKET")
        written = orjson.loads(payload)
        # Redis counts the seconds too, but a node whose Redis stood still must not honour a late one.
        if self._clock.now().timestamp() >= written["until"]:
            raise HubError("INVALID_TICKET", "The ticket is over 30 s old")
        return _read(written)

    def _sign(self, ticket: str, payload: bytes) -> bytes:
        return hmac.digest(self._secret, ticket.encode() + payload, "sha256")


def _key_of(ticket: str) -> str:
    return f"ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"


def _unavailable() -> HubError:
    return HubError("SERVICE_UNAVAILABLE", "Tickets are not available for the moment", retry_after=1)


def _written(reference: Reference) -> dict[str, Any]:
    if isinstance(reference, KeyReference):
        return {"key": reference.key_hash.hex()}
    claims = reference.claims
    ids = claims.resource_ids
    return {
        "issuer": reference.issuer,
        "kid": reference.kid,
        "subject": claims.subject,
        "organisation": claims.organisation,
        "scopes": sorted(claims.scopes),
        "expires_at": claims.expires_at.timestamp(),
        "resource_ids": None if ids is None else [str(each) for each in ids],
    }


def _read(written: dict[str, Any]) -> Reference:
    if "key" in written:
        return KeyReference(bytes.fromhex(written["key"]))
    ids = written["resource_ids"]
    claims = Claims(
        subject=written["subject"],
        organisation=written["organisation"],
        scopes=frozenset(written["scopes"]),
        expires_at=datetime.fromtimestamp(written["expires_at"], UTC),
        resource_ids=None if ids is None else frozenset(UUID(each) for each in ids),
    )
    return TokenReference(written["issuer"], written["kid"], claims)
