"""From a credential to a caller.

Answers are kept for at most a second, counted from when the database was asked. So a key that was revoked, an organisation that was
removed and a tier that was changed are noticed everywhere within two seconds, whatever messages were lost.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from core.auth.bounded import BoundedCache
from core.auth.caller import Caller
from core.auth.flights import Flights
from core.auth.keys import KEY_LENGTH, PREFIX, hash_of, is_key
from core.auth.organisations import is_slug
from core.auth.reference import KeyReference, Reference, TokenReference
from core.auth.refusals import expired_token, invalid_key, invalid_token, unauthenticated
from core.auth.standing import Organisation, key_caller, organisation_of, token_caller
from core.auth.tokens import TokenVerifier
from core.clock import Clock
from core.errors import HubError
from core.ids import parse_id
from core.store.database import Database
from core.store.queries import load_queries

KEPT_SECONDS = 1.0
CACHED_ANSWERS = 50_000
# So many are asked about in one query; the loop has its turn in between.
ASKED_TOGETHER = 500
_SQL = load_queries(Path(__file__).with_name("queries.sql"))
_UNKNOWN = "There is no such API key"
_REVOKED = "The API key was revoked"
_NO_ORGANISATION = "The token is for an organisation that does not exist here"
_NO_SIGNING_KEY = "The token's signing key is not its issuer's any more"

Item = TypeVar("Item")


def credential_of(authorization: str | None) -> str:
    """Return the credential of an `Authorization` header: `Bearer <it>`, the scheme in any case (RFC 9110, section 11.1).

    Raises HubError AUTHENTICATION_REQUIRED where there is none, INVALID_API_KEY where it is none.
    """
    scheme, _, rest = (authorization or "").strip(" \t").partition(" ")
    credential = rest.strip(" \t")
    if scheme.startswith(PREFIX):
        raise invalid_key("Put Bearer and a space before the API key: Authorization: Bearer <key or token>")
    if scheme.lower() != "bearer" or not credential:
        raise unauthenticated()
    if not credential.isascii() or not credential.isprintable() or " " in credential:
        raise invalid_key("The credential has a space or a character that no API key or token has")
    return credential


class Authenticator:
    """Tells who calls, by API key or token. One for each node; `close` it."""

    def __init__(
        self, database: Database, secret: str, tokens: TokenVerifier, clock: Clock, *, size: int = CACHED_ANSWERS
    ) -> None:
        self._database = database
        self._secret = secret
        self._tokens = tokens
        self._clock = clock
        # Apart from each other, so that whoever tries many wrong keys does not push out those in use.
        self._callers: BoundedCache[bytes, Caller] = BoundedCache(size)
        self._refused: BoundedCache[bytes, str] = BoundedCache(size)
        self._organisations: BoundedCache[str, Organisation] = BoundedCache(size)
        self._missing: BoundedCache[str, bool] = BoundedCache(size)
        self._keys: Flights[bytes, Caller | str] = Flights(clock, fresh=KEPT_SECONDS)
        self._names: Flights[str, Organisation | None] = Flights(clock, fresh=KEPT_SECONDS)

    async def close(self) -> None:
        """End the look-ups and the fetch of an issuer's keys that run."""
        await self._keys.close()
        await self._names.close()
        await self._tokens.close()

    def recent(self, credential: str) -> Caller | None:
        """Return the caller at once where the answer is known and at most a second old; None says: authenticate."""
        if credential.startswith(PREFIX):
            return self._recent_key(credential)
        reference = self._tokens.recent(credential)
        if reference is None:
            return None
        found = self._organisations.get(_normal(reference.claims.organisation), self._clock.monotonic())
        return None if found is None else token_caller(reference, found)

    async def authenticate(self, credential: str) -> Caller:
        """Return the caller that `credential` speaks for.

        Raises HubError INVALID_API_KEY, INVALID_TOKEN or EXPIRED_TOKEN; SERVICE_UNAVAILABLE while it cannot be known.
        """
        if is_key(credential):
            return await self._by_key(credential)
        if credential.startswith(PREFIX):
            raise invalid_key("The API key is incomplete or misspelt")
        if "." in credential:
            return await self._by_token(credential)
        raise invalid_key("The credential is neither an API key nor a token")

    async def stand(self, reference: Reference) -> Caller:
        """Return the caller that a reference stands for now; raises as `authenticate` does."""
        answer = (await self.check([reference])).get(reference)
        if answer is None:
            raise HubError("SERVICE_UNAVAILABLE", "The token's issuer does not answer for the moment", retry_after=1)
        if isinstance(answer, HubError):
            raise answer
        if _has_ended(answer, self._clock.now()):
            raise expired_token() if isinstance(reference, TokenReference) else invalid_key("The API key has expired")
        return answer

    async def check(self, references: Collection[Reference]) -> Mapping[Reference, Caller | HubError]:
        """Ask the database about many at once; returns for each the caller as it is now, or why there is none any more.

        That a credential has expired is not looked at: the caller says when. Tokens of an issuer that does not answer are left
        out. Raises HubError SERVICE_UNAVAILABLE while the database is away.
        """
        answers: dict[Reference, Caller | HubError] = {}
        for some in _slices([each for each in references if isinstance(each, KeyReference)]):
            found = await self._find_keys([each.key_hash for each in some])
            answers.update((each, _answer(found[each.key_hash])) for each in some)
        for some in _slices([each for each in references if isinstance(each, TokenReference)]):
            answers.update(await self._check_tokens(some))
        return answers

    def _recent_key(self, key: str) -> Caller | None:
        if len(key) != KEY_LENGTH or not key.isascii():
            return None
        caller = self._callers.get(hash_of(self._secret, key), self._clock.monotonic())
        return None if caller is None or _has_ended(caller, self._clock.now()) else caller

    async def _by_key(self, key: str) -> Caller:
        key_hash = hash_of(self._secret, key)
        now = self._clock.monotonic()
        answer = self._callers.get(key_hash, now) or self._refused.get(key_hash, now)
        if answer is None:
            answer = await self._keys.join(key_hash, lambda: self._find_key(key_hash))
        if isinstance(answer, str):
            raise invalid_key(answer)
        if _has_ended(answer, self._clock.now()):
            raise invalid_key("The API key has expired")
        return answer

    async def _find_key(self, key_hash: bytes) -> Caller | str:
        return (await self._find_keys([key_hash]))[key_hash]

    async def _find_keys(self, hashes: Sequence[bytes]) -> dict[bytes, Caller | str]:
        """Return for each hash the caller, or why its key is not taken, and remember it."""
        until = self._clock.monotonic() + KEPT_SECONDS
        async with self._database.unbound() as statements:
            rows = await statements.fetch(_SQL["find_keys"], hashes)
        answers: dict[bytes, Caller | str] = dict.fromkeys(hashes, _UNKNOWN)
        for row in rows:
            answers[row["hash"]] = key_caller(row) if row["revoked_at"] is None else _REVOKED
        for key_hash, answer in answers.items():
            if isinstance(answer, str):
                self._callers.drop(key_hash)
                self._refused.put(key_hash, answer, until)
            else:
                self._callers.put(key_hash, answer, until)
        return answers

    async def _by_token(self, token: str) -> Caller:
        reference = await self._tokens.accept(token)
        name = _normal(reference.claims.organisation)
        now = self._clock.monotonic()
        found = self._organisations.get(name, now)
        if found is None and self._missing.get(name, now) is None and _may_be_named(name):
            found = await self._names.join(name, lambda: self._find_organisation(name))
        if found is None:
            raise invalid_token(_NO_ORGANISATION)
        if reference.claims.expires_at <= self._clock.now():
            raise expired_token()
        return token_caller(reference, found)

    async def _check_tokens(self, references: Sequence[TokenReference]) -> dict[Reference, Caller | HubError]:
        signers = list({(each.issuer, each.kid) for each in references})
        are_known = await asyncio.gather(*(self._tokens.has_key(*signer) for signer in signers))
        has_key = dict(zip(signers, are_known, strict=True))
        names = {_normal(each.claims.organisation) for each in references}
        found = await self._find_organisations([name for name in names if _may_be_named(name)])
        answers: dict[Reference, Caller | HubError] = {}
        for each in references:
            organisation = found.get(_normal(each.claims.organisation))
            signed = has_key[each.issuer, each.kid]
            if signed is None:
                continue
            if not signed:
                answers[each] = invalid_token(_NO_SIGNING_KEY)
            elif organisation is None:
                answers[each] = invalid_token(_NO_ORGANISATION)
            else:
                answers[each] = token_caller(each, organisation)
        return answers

    async def _find_organisation(self, name: str) -> Organisation | None:
        return (await self._find_organisations([name])).get(name)

    async def _find_organisations(self, names: Sequence[str]) -> dict[str, Organisation]:
        """Return those of these that there are, and remember which are and which are not."""
        until = self._clock.monotonic() + KEPT_SECONDS
        async with self._database.unbound() as statements:
            rows = await statements.fetch(_SQL["find_organisations"], names)
        found = {row["name"]: organisation_of(row) for row in rows}
        for name in names:
            if name in found:
                self._organisations.put(name, found[name], until)
            else:
                self._organisations.drop(name)
                self._missing.put(name, True, until)  # noqa: FBT003 - the value of a cache entry
        return found


def _answer(found: Caller | str) -> Caller | HubError:
    return invalid_key(found) if isinstance(found, str) else found


def _slices(items: Sequence[Item]) -> Iterable[Sequence[Item]]:
    return (items[start : start + ASKED_TOGETHER] for start in range(0, len(items), ASKED_TOGETHER))


def _may_be_named(name: str) -> bool:
    """Tell whether an organisation may have this id or slug; what cannot be a name is never looked up."""
    return is_slug(name) or parse_id(name) is not None


def _normal(name: str) -> str:
    """Return one spelling of an organisation's id or slug."""
    named = parse_id(name)
    return name if named is None else str(named)


def _has_ended(caller: Caller, now: datetime) -> bool:
    return caller.expires_at is not None and caller.expires_at <= now
