"""The hub as an issuer of tokens: its key pairs, the key set that others verify with, and the tokens themselves.

One key signs. A rotation retires it; what it signed is accepted until it has ended, and every node knows of a rotation within a
second, since the public parts are read again that often while they are needed. The private part is encrypted under the
installation's secret, in a table that hub_owner alone can read; a node keeps the one that signs in memory.
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from core.auth.caller import Caller
from core.auth.flights import Flights
from core.auth.jwks import ALGORITHM, parse_jwks
from core.clock import Clock
from core.errors import HubError
from core.store.database import Database, connect_as, reachable
from core.store.queries import load_queries
from core.store.statements import Statements

LONGEST_SECONDS = 24 * 3600
# A node may sign with the old key for a moment after a rotation.
_MARGIN_SECONDS = 60
KEPT_SECONDS = 1.0
# A key that a token names and that is not known may be a second old at most, and is asked for no more often than this.
_BETWEEN_SECONDS = 0.2
_BITS = 2048
_LOCK = 0x7369676E
_SQL = load_queries(Path(__file__).with_name("signing.sql"))


@dataclass(frozen=True, slots=True)
class _Loaded:
    keys: Mapping[str | None, RSAPublicKey]
    signs: str | None
    key_set: bytes
    at: float


async def ensure_signing_key(database_url: str, secret: str) -> None:
    """Make the first key pair, or another one where the secret has changed. Any number of nodes may call this at once."""
    connection = await connect_as(database_url, "hub_owner")
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        row = await connection.fetchrow(_SQL["read_signing"])
        if row is None or _decrypted(row["private_key"], secret) is None:
            await rotate_signing_key(connection, secret)
    finally:
        await connection.close()


async def rotate_signing_key(connection: Statements, secret: str, *, end_tokens: bool = False) -> str:
    """Let a new key sign, and return its name; `connection` is hub_owner's.

    What older keys signed is accepted until it ends; with `end_tokens` on no node after a second.
    """
    private = generate_private_key(65537, _BITS)
    jwk = _jwk_of(private.public_key())
    encrypted = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(secret.encode()))
    await connection.execute("BEGIN")
    try:
        await connection.execute(_SQL["remove_ended"])
        await connection.execute(_SQL["retire"], float(LONGEST_SECONDS + _MARGIN_SECONDS))
        if end_tokens:
            await connection.execute(_SQL["end_retired"])
        await connection.execute(_SQL["insert"], jwk["kid"], orjson.dumps(jwk).decode(), encrypted.decode())
    except BaseException:
        await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")
    return jwk["kid"]


class SigningKeys:
    """The hub's keys as one node knows them. Implements core.auth.tokens.IssuerKeys."""

    def __init__(self, database: Database, database_url: str, secret: str, clock: Clock) -> None:
        self._database = database
        self._database_url = database_url
        self._secret = secret
        self._clock = clock
        self._flights: Flights[str, _Loaded] = Flights(clock, fresh=_BETWEEN_SECONDS)
        self._loaded: _Loaded | None = None
        self._private: tuple[str, RSAPrivateKey] | None = None

    async def close(self) -> None:
        """End a look-up that runs."""
        await self._flights.close()

    def known(self, kid: str | None) -> RSAPublicKey | None:
        """Return the public key of this name, None where it is not there or must be asked for."""
        loaded = self._loaded
        return None if loaded is None or self._age(loaded) >= KEPT_SECONDS else loaded.keys.get(kid)

    async def key(self, kid: str | None) -> RSAPublicKey | None:
        """Return the public key of this name, None where there is none; raises HubError SERVICE_UNAVAILABLE."""
        found = self.known(kid)
        if found is None:
            found = (await self._load(_BETWEEN_SECONDS)).keys.get(kid)
        return found

    async def key_set(self) -> bytes:
        """Return the public keys as JSON (RFC 7517, section 5); raises HubError SERVICE_UNAVAILABLE."""
        return (await self._load(KEPT_SECONDS)).key_set

    async def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token with these claims; raises HubError SERVICE_UNAVAILABLE while the database is away."""
        kid = (await self._load(KEPT_SECONDS)).signs
        if self._private is None or self._private[0] != kid:
            self._private = await self._read_private(kid)
        kid, private = self._private
        return jwt.encode(dict(claims), private, algorithm=ALGORITHM, headers={"kid": kid})

    def _age(self, loaded: _Loaded) -> float:
        return self._clock.monotonic() - loaded.at

    async def _load(self, oldest: float) -> _Loaded:
        if self._loaded is not None and self._age(self._loaded) < oldest:
            return self._loaded
        return await self._flights.join("keys", self._read_public)

    async def _read_public(self) -> _Loaded:
        at = self._clock.monotonic()
        async with self._database.unbound() as statements:
            rows = await statements.fetch(_SQL["find_public"])
        # The one that signs stands first: whoever takes the first key of a set takes that.
        key_set = b'{"keys":[%b]}' % b",".join(row["public_key"].encode() for row in rows)
        signs = next((row["kid"] for row in rows if row["signs"]), None)
        self._loaded = _Loaded(parse_jwks(key_set) if rows else {}, signs, key_set, at)
        return self._loaded

    async def _read_private(self, kid: str | None) -> tuple[str, RSAPrivateKey]:
        with reachable():
            connection = await connect_as(self._database_url, "hub_owner")
            try:
                encrypted = await connection.fetchval(_SQL["read_private"], kid)
            finally:
                await connection.close()
        # Slow on purpose, as whatever is kept under a password: a thread's work, once for each key.
        private = None if encrypted is None else await asyncio.to_thread(_decrypted, str(encrypted), self._secret)
        if kid is None or private is None:
            structlog.get_logger().error("no_signing_key", kid=kid, is_there=encrypted is not None)
            raise HubError("SERVICE_UNAVAILABLE", "No tokens can be signed for the moment", retry_after=1)
        return kid, private


class TokenIssuer:
    """Issues tokens for users of the caller's organisation."""

    def __init__(self, keys: SigningKeys, *, name: str, audience: str) -> None:
        self._keys = keys
        self._name = name
        self._audience = audience

    async def issue(
        self,
        caller: Caller,
        subject: str,
        scopes: Sequence[str],
        *,
        issued_at: datetime,
        expires_at: datetime,
        resource_ids: Sequence[UUID] | None = None,
    ) -> str:
        """Return a token of `caller`'s organisation; whether the caller may give so much is the caller's to ask."""
        claims: dict[str, Any] = {
            "sub": subject,
            "iss": self._name,
            "aud": self._audience,
            "exp": int(expires_at.timestamp()),
            "iat": int(issued_at.timestamp()),
            "scope": sorted(scopes),
            "org_id": str(caller.org_id),
        }
        if resource_ids is not None:
            claims["resource_ids"] = [str(each) for each in resource_ids]
        return await self._keys.sign(claims)


def _decrypted(encrypted: str, secret: str) -> RSAPrivateKey | None:
    """Return the private key; None where it was encrypted under another secret."""
    try:
        private = load_pem_private_key(encrypted.encode(), secret.encode())
    except ValueError:
        return None
    return private if isinstance(private, RSAPrivateKey) else None


def _jwk_of(public: RSAPublicKey) -> dict[str, str]:
    numbers = public.public_numbers()
    required = {"e": _text(numbers.e), "kty": "RSA", "n": _text(numbers.n)}
    # RFC 7638, section 3: the name is the hash of what makes the key, so two keys never share one.
    kid = base64.urlsafe_b64encode(hashlib.sha256(orjson.dumps(required)).digest()).decode().rstrip("=")
    return {**required, "kid": kid, "use": "sig", "alg": ALGORITHM}


def _text(number: int) -> str:
    """Write a Base64urlUInt (RFC 7518, section 2)."""
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode().rstrip("=")
