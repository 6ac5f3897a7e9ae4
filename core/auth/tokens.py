"""Tokens: JWT (RFC 7519) signed with RS256 by the configured issuer, or by the hub itself.

The algorithm is compared with the only one allowed before anything else is believed (RFC 8725, section 3.1), so neither
`none` nor an HMAC under the public key is ever computed. The issuer that a token names only chooses whose keys its signature must
be of. Then audience, times, subject, organisation and scopes: that a token has expired is said only of one that was valid.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, cast
from uuid import UUID

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from core.auth.bounded import BoundedCache
from core.auth.caller import ALL_SCOPES
from core.auth.jwks import ALGORITHM
from core.auth.reference import Claims, TokenReference
from core.auth.refusals import expired_token, invalid_token
from core.clock import Clock
from core.errors import HubError
from core.ids import parse_id

# How far the issuer's clock may run ahead of ours. The end of a token gets none of it: a client that is told so gets a new one.
LEEWAY_SECONDS = 30
MOST_CHARACTERS = 16 * 1024
CACHED_TOKENS = 10_000
MOST_RESOURCES = 1_000
# An issuer that does not answer must not hold up what else is asked about open sockets.
PATIENCE_SECONDS = 0.5
LONGEST_SUBJECT = 255
# Subjects of API keys, which a token must not take.
_KEY_SUBJECT = "key:"


class IssuerKeys(Protocol):
    """The public keys of one issuer."""

    def known(self, kid: str | None) -> RSAPublicKey | None:
        """Return the key at once; None where it is not there, or must be asked for."""
        ...

    async def key(self, kid: str | None) -> RSAPublicKey | None:
        """Return the key, None where there is none; raise HubError SERVICE_UNAVAILABLE while it cannot be known."""
        ...

    async def close(self) -> None:
        """End what is under way."""
        ...


@dataclass(frozen=True, slots=True)
class _Verified:
    reference: TokenReference
    key: RSAPublicKey


class TokenVerifier:
    """Verifies tokens; what was verified is remembered until it ends, as long as its key is one of its issuer's.

    `keys` are those of the configured issuer, None where there is none; `own` are the hub's, by the names that it has as an
    issuer. Where the names are the same the hub's keys count. Without any issuer no token is valid.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        keys: IssuerKeys | None,
        clock: Clock,
        own: Mapping[str, IssuerKeys] | None = None,
        size: int = CACHED_TOKENS,
    ) -> None:
        configured = {} if keys is None else {issuer: keys}
        self._issuers: Mapping[str, IssuerKeys] = {**configured, **(own or {})}
        self._audience = audience
        self._clock = clock
        self._verified: BoundedCache[bytes, _Verified] = BoundedCache(size)
        self._jws = jwt.PyJWS(algorithms=[ALGORITHM])

    async def close(self) -> None:
        """End a fetch of keys that runs."""
        for keys in self._issuers.values():
            await keys.close()

    def recent(self, token: str) -> TokenReference | None:
        """Return what is remembered of a token, without waiting; None where it must be verified."""
        if not self._issuers or not _is_plausible(token):
            return None
        verified = self._verified.get(_digest(token), self._clock.now().timestamp())
        if verified is None:
            return None
        reference = verified.reference
        is_known = self._issuers[reference.issuer].known(reference.kid) == verified.key
        return reference if is_known else None

    async def verify(self, token: str) -> Claims:
        """Return what a valid token says; raises as `accept` does."""
        return (await self.accept(token)).claims

    async def accept(self, token: str) -> TokenReference:
        """Return what a valid token says, and who said it.

        Raises HubError INVALID_TOKEN or EXPIRED_TOKEN, or SERVICE_UNAVAILABLE while the issuer's keys cannot be known.
        """
        if not self._issuers:
            raise invalid_token("No token issuer is configured: use an API key")
        if not _is_plausible(token):
            raise invalid_token(f"A token is ASCII text of at most {MOST_CHARACTERS} characters")
        digest, now = _digest(token), self._clock.now()
        verified = self._verified.get(digest, now.timestamp())
        if verified is None:
            kid = self._key_name(token)
            issuer = self._issuer_of(token)
        else:
            kid, issuer = verified.reference.kid, verified.reference.issuer
        key = await self._issuers[issuer].key(kid)
        if key is None:
            raise invalid_token("The token names a signing key that the issuer does not have")
        if verified is None or verified.key != key:
            claims = self._claims(self._payload(token, key), issuer, self._clock.now())
            verified = _Verified(TokenReference(issuer, kid, claims), key)
            self._verified.put(digest, verified, claims.expires_at.timestamp())
        return verified.reference

    async def has_key(self, issuer: str, kid: str | None) -> bool | None:
        """Tell whether the key that a token was signed with is still its issuer's; None where that is not known soon enough."""
        keys = self._issuers.get(issuer)
        if keys is None:
            return False
        if keys.known(kid) is not None:
            return True
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await keys.key(kid) is not None
        except (TimeoutError, HubError):
            return None

    def _key_name(self, token: str) -> str | None:
        """Return the `kid` of the header, which may be used."""
        try:
            header = self._jws.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise invalid_token("The token is malformed") from error
        if header.get("alg") != ALGORITHM:
            raise invalid_token(f"Only tokens signed with {ALGORITHM} are accepted")
        # RFC 7515, section 4.1.11: an extension that is not understood makes the token invalid; the hub understands none.
        if "crit" in header or "b64" in header:
            raise invalid_token("The token needs an extension that the hub does not have")
        return header.get("kid")

    def _issuer_of(self, token: str) -> str:
        """Return the issuer that a token names, which nothing has verified yet."""
        payload = token.split(".")[1]
        try:
            claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (binascii.Error, ValueError) as error:
            raise invalid_token("The token's claims are no JSON") from error
        named = cast("Mapping[str, Any]", claims).get("iss") if isinstance(claims, dict) else None
        if not isinstance(named, str) or named not in self._issuers:
            raise invalid_token("The token is of another issuer")
        return named

    def _payload(self, token: str, key: RSAPublicKey) -> Mapping[str, Any]:
        try:
            payload = orjson.loads(self._jws.decode(token, key, algorithms=[ALGORITHM]))
        except jwt.PyJWTError as error:
            raise invalid_token("The token's signature is not the issuer's") from error
        except orjson.JSONDecodeError as error:
            raise invalid_token("The token's claims are no JSON") from error
        if not isinstance(payload, dict):
            raise invalid_token("The token's claims are no JSON object")
        return cast("Mapping[str, Any]", payload)

    def _claims(self, payload: Mapping[str, Any], issuer: str, now: datetime) -> Claims:
        if payload.get("iss") != issuer:
            raise invalid_token("The token is of another issuer")
        if not _names(payload.get("aud"), self._audience):
            raise invalid_token("The token is for another audience")
        return Claims(
            expires_at=_check_times(payload, now),
            subject=_subject(payload.get("sub")),
            organisation=_organisation(payload.get("org_id")),
            scopes=_scopes(payload.get("scope")),
            resource_ids=_resource_ids(payload.get("resource_ids")),
        )


def _is_plausible(token: str) -> bool:
    return len(token) <= MOST_CHARACTERS and token.isascii()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("ascii")).digest()


def _names(audience: object, wanted: str) -> bool:
    """Tell whether `aud`, one name or a list of them (RFC 7519, section 4.1.3), has the wanted one."""
    return audience == wanted or (isinstance(audience, list) and wanted in audience)


def _check_times(payload: Mapping[str, Any], now: datetime) -> datetime:
    """Return the token's end, which is yet to come."""
    latest = now.timestamp() + LEEWAY_SECONDS
    expires_at, issued_at = _moment(payload, "exp"), _moment(payload, "iat")
    if issued_at.timestamp() > latest:
        raise invalid_token("The token was issued in the future")
    if "nbf" in payload and _moment(payload, "nbf").timestamp() > latest:
        raise invalid_token("The token is not valid yet")
    # RFC 7519, section 4.1.4: not on or after this moment.
    if expires_at <= now:
        raise expired_token()
    return expires_at


def _moment(payload: Mapping[str, Any], name: str) -> datetime:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_token(f"The token needs {name}, a number of seconds since 1970")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise invalid_token(f"The token's {name} is out of range") from error


def _subject(value: object) -> str:
    # What is stored and logged must be text that can be printed, and must not pass for a key.
    wrong = what_is_wrong_with_subject(value)
    if not isinstance(value, str) or wrong is not None:
        raise invalid_token(f"The token needs sub: {wrong}")
    return value


def what_is_wrong_with_subject(value: object) -> str | None:
    """Return what keeps `value` from being a token's subject, None where it may be one."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_SUBJECT or not value.isprintable():
        return f"1 to {LONGEST_SUBJECT} characters that can be printed"
    return f"only API keys begin with {_KEY_SUBJECT}" if value.startswith(_KEY_SUBJECT) else None


def _organisation(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise invalid_token("The token needs org_id, the id or slug of an organisation")
    return value


def _scopes(value: object) -> frozenset[str]:
    """Read `scope`, one text with spaces between (RFC 8693, section 4.2) or a list; what the hub has no use for is left out."""
    items = value.split(" ") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in cast("list[object]", items)):
        raise invalid_token("The token needs scope, a list of scopes or one text with spaces between them")
    return ALL_SCOPES.intersection(cast("list[str]", items))


def _resource_ids(value: object) -> frozenset[UUID] | None:
    """Read the hub's own claim: the ids of the only resources that the token is for."""
    if value is None:
        return None
    items = cast("list[object]", value) if isinstance(value, list) else []
    ids = frozenset(filter(None, (parse_id(item) if isinstance(item, str) else None for item in items)))
    if not isinstance(value, list) or len(items) > MOST_RESOURCES or len(ids) != len(set(map(str, items))):
        # A restriction that cannot be read must not become none.
        raise invalid_token(f"The token's resource_ids are no list of at most {MOST_RESOURCES} ids")
    return ids
