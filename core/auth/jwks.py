"""The issuer's public keys (RFC 7517), fetched when they are needed and kept while the issuer cannot be reached.

Kept for 10 minutes; fetched sooner when a token names a key that is not among them, but at most once in 30 s, whoever asks and
whatever came of it. While fetching fails the last ones stand, up to 24 h, and nobody waits for the attempts after the first.
"""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from core.auth.flights import Flights
from core.clock import Clock
from core.errors import HubError
from core.outbound import Outbound, OutboundError

ALGORITHM = "RS256"
FRESH_SECONDS = 600.0
BETWEEN_FETCHES_SECONDS = 30.0
KEPT_SECONDS = 24 * 3600.0
FETCH_SECONDS = 5.0
MOST_BYTES = 256 * 1024
MOST_KEYS = 100
LEAST_BITS = 2048  # RFC 7518, section 3.3
# Above these a signature takes so long to check that tokens become a way to keep the hub busy.
MOST_BITS = 8192
MOST_EXPONENT_BITS = 32


class JwksError(Exception):
    """What was fetched is no set of keys."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    keys: Mapping[str | None, RSAPublicKey]
    at: float


class Jwks:
    """The keys behind one URL."""

    def __init__(self, url: str, outbound: Outbound, clock: Clock) -> None:
        self._url = url
        self._outbound = outbound
        self._clock = clock
        self._flights: Flights[str, None] = Flights(clock)
        self._fetched: _Fetched | None = None
        self._attempted: float | None = None
        self._failing = False
        self._log = structlog.get_logger()

    async def close(self) -> None:
        """End a fetch that runs."""
        await self._flights.close()

    def known(self, kid: str | None) -> RSAPublicKey | None:
        """Return the key at once, or None where it is not there or the keys are due to be fetched anew."""
        if self._fetched is None or self._age() >= FRESH_SECONDS:
            return None
        return self._pick(kid)

    async def key(self, kid: str | None) -> RSAPublicKey | None:
        """Return the key that a token names, None where the issuer has none of that name.

        A token without a name is answered where the issuer has a single key. Raises HubError SERVICE_UNAVAILABLE while it
        cannot be known.
        """
        if self.known(kid) is None:
            await self._refresh()
        found = self._pick(kid)
        if found is None and self._failing:
            raise HubError(
                "SERVICE_UNAVAILABLE",
                "The keys of the token issuer cannot be fetched for the moment",
                retry_after=max(1, round(self._until_next_fetch())),
            )
        return found

    async def _refresh(self) -> None:
        if not len(self._flights) and self._until_next_fetch() > 0:
            return
        flight = self._flights.begin(self._url, self._fetch)
        # The issuer did not answer last time: go by what is known, and hear of this attempt when it is over.
        if not (self._failing and self._fetched is not None and self._age() < KEPT_SECONDS):
            await asyncio.shield(flight)

    def _until_next_fetch(self) -> float:
        if self._attempted is None:
            return 0.0
        return self._attempted + BETWEEN_FETCHES_SECONDS - self._clock.monotonic()

    def _age(self) -> float:
        return 0.0 if self._fetched is None else self._clock.monotonic() - self._fetched.at

    def _pick(self, kid: str | None) -> RSAPublicKey | None:
        if self._fetched is None or self._age() >= KEPT_SECONDS:
            return None
        keys = self._fetched.keys
        if kid is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(kid)

    async def _fetch(self) -> None:
        self._attempted = self._clock.monotonic()
        try:
            answer = await self._outbound.request(
                "GET", self._url, headers={"Accept": "application/json"}, timeout=FETCH_SECONDS, max_bytes=MOST_BYTES
            )
            if answer.status != 200:
                raise JwksError(f"the issuer answered {answer.status}")
            keys = parse_jwks(answer.body)
        except (OutboundError, JwksError) as error:
            self._failing = True
            self._log.warning("jwks_fetch_failed", reason=str(error), kept=self._fetched is not None)
        else:
            self._failing = False
            self._fetched = _Fetched(keys, self._attempted)
            self._log.info("jwks_fetched", keys=len(keys))


def parse_jwks(body: bytes) -> Mapping[str | None, RSAPublicKey]:
    """Return the usable keys by `kid`: RSA of 2048 bits or more, with use `sig`, for RS256 or for no algorithm in particular.

    Keys of other kinds are passed over (RFC 7517, section 5); of two with one name the first stands. Raises JwksError where the
    body is no set of keys, or none of them can be used.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise JwksError("the answer is no JSON") from error
    listed = cast("Mapping[str, Any]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise JwksError("the answer has no list of keys")
    keys: dict[str | None, RSAPublicKey] = {}
    for item in cast("Sequence[object]", listed)[:MOST_KEYS]:
        if isinstance(item, dict):
            _add(keys, cast("Mapping[str, Any]", item))
    if not keys:
        raise JwksError(f"the answer has no RSA key of {LEAST_BITS} bits or more for signatures")
    return keys


def _add(keys: dict[str | None, RSAPublicKey], item: Mapping[str, Any]) -> None:
    kid = item.get("kid")
    if (kid is not None and not isinstance(kid, str)) or not _is_for_signatures(item):
        return
    modulus, exponent = _number(item.get("n")), _number(item.get("e"))
    if not LEAST_BITS <= modulus.bit_length() <= MOST_BITS or exponent.bit_length() > MOST_EXPONENT_BITS:
        return
    try:
        key = RSAPublicNumbers(exponent, modulus).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return
    keys.setdefault(kid, key)


def _is_for_signatures(item: Mapping[str, Any]) -> bool:
    operations = item.get("key_ops")
    return (
        item.get("kty") == "RSA"
        and item.get("use") == "sig"
        and item.get("alg", ALGORITHM) == ALGORITHM
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and "d" not in item  # A private key in public is nobody's any more.
    )


def _number(text: object) -> int:
    """Read a Base64urlUInt (RFC 7518, section 2); 0 for what is none."""
    if not isinstance(text, str) or not text.isascii():
        return 0
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
    except (ValueError, binascii.Error):
        return 0
