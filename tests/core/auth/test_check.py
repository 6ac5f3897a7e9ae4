"""Asking about many credentials at once: what an open socket stands on."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.auth.authenticator import ASKED_TOGETHER, Authenticator
from core.auth.caller import Caller
from core.auth.keys import hash_of
from core.auth.reference import Claims, KeyReference, Reference, TokenReference
from core.auth.tiers import TIERS
from core.auth.tokens import TokenVerifier
from core.errors import HubError
from core.ids import new_id
from core.store.database import connect_as
from core.store.migrate import installation_secret
from tests.core.auth.counted import CountedDatabase
from tests.core.auth.issuer import Issuer, jwk, rsa_key
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations


async def _execute(url: str, statement: str, *args: Any) -> None:
    connection = await connect_as(url, "hub_owner")
    try:
        await connection.execute(statement, *args)
    finally:
        await connection.close()


async def _referred(authenticator: Authenticator, credential: str) -> Reference:
    reference = (await authenticator.authenticate(credential)).reference
    assert reference is not None
    return reference


async def _code(authenticator: Authenticator, reference: Reference) -> str | None:
    answer = (await authenticator.check([reference]))[reference]
    return answer.code if isinstance(answer, HubError) else None


async def test_thousands_of_keys_are_a_few_queries(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation, database_url: str
):
    """Each gets its own answer: good, revoked, unknown."""
    secret = await installation_secret(database_url)
    hashes = [hash_of(secret, f"key {number}") for number in range(2_500)]
    await _execute(
        database_url,
        "INSERT INTO keys (id, org_id, name, hint, hash, scopes, created_at, revoked_at) "
        "SELECT gen_random_uuid(), $1, 'k', 'k', hash, ARRAY['read:agents'], now(), CASE WHEN n % 2 = 0 THEN now() END "
        "FROM unnest($2::bytea[]) WITH ORDINALITY AS made (hash, n)",
        acme.id,
        hashes[:2_000],
    )
    references = [KeyReference(each) for each in hashes]
    answers = await authenticator.check(references)
    assert database.lookups == len(range(0, 2_500, ASKED_TOGETHER))
    good = [answers[each] for each in references[:2_000:2]]
    assert all(isinstance(each, Caller) and each.org_id == acme.id for each in good)
    refused = [answers[each] for each in (*references[1:2_000:2], *references[2_000:])]
    assert {each.code for each in refused if isinstance(each, HubError)} == {"INVALID_API_KEY"}
    assert len(refused) == 1_500


async def test_check_asks_the_database_and_not_the_memory(
    authenticator: Authenticator, acme: Organisation, database_url: str
):
    """So a change is seen by the next check, and requests profit."""
    key = await acme.key(["read:agents", "write:agents"])
    reference = await _referred(authenticator, key)
    await _execute(database_url, "UPDATE keys SET scopes = ARRAY['read:agents']")
    answer = (await authenticator.check([reference]))[reference]
    assert isinstance(answer, Caller)
    assert answer.scopes == {"read:agents"}
    assert authenticator.recent(key) == answer


async def test_expired_credential_is_the_askers_matter(
    authenticator: Authenticator, acme: Organisation, issuer: Issuer, clock: ManualClock
):
    """A socket has a time of grace; a ticket has none."""
    ending = clock.now() + timedelta(seconds=5)
    credentials = {
        "INVALID_API_KEY": await acme.key(expires_at=ending),
        "EXPIRED_TOKEN": issuer.token(exp=int(ending.timestamp())),
    }
    references = {code: await _referred(authenticator, credential) for code, credential in credentials.items()}
    assert [(await authenticator.stand(each)).expires_at for each in references.values()] == [ending, ending]
    await clock.advance(5)
    for code, reference in references.items():
        assert await _code(authenticator, reference) is None
        with pytest.raises(HubError) as refused:
            await authenticator.stand(reference)
        assert refused.value.code == code


async def test_tokens_of_a_key_that_the_issuer_withdrew_are_refused(
    authenticator: Authenticator, acme: Organisation, issuer: Issuer, clock: ManualClock
):
    """As soon as its keys are fetched again."""
    reference = await _referred(authenticator, issuer.token(exp=int(clock.now().timestamp()) + 3600))
    issuer.published = [jwk("k2", rsa_key("k2"))]
    assert await _code(authenticator, reference) is None
    await clock.advance(600)
    assert await _code(authenticator, reference) == "INVALID_TOKEN"


class SilentKeys:
    """An issuer that never answers."""

    def known(self, kid: str | None) -> None:
        return None

    async def key(self, kid: str | None) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


async def test_issuer_that_does_not_answer_holds_up_nobody_else(
    database: CountedDatabase, database_url: str, acme: Organisation, clock: ManualClock
):
    """Its tokens are left out, for nothing is known of them; a ticket of one has to wait."""
    tokens = TokenVerifier(issuer="slow", audience="a", keys=SilentKeys(), clock=clock)
    authenticator = Authenticator(database, await installation_secret(database_url), tokens, clock)
    key = await _referred(authenticator, await acme.key())
    claims = Claims("ada", "acme", frozenset(), clock.now() + timedelta(hours=1))
    token = TokenReference("slow", "k", claims)
    async with asyncio.timeout(20):
        assert list(await authenticator.check([token, key])) == [key]
        with pytest.raises(HubError) as refused:
            await authenticator.stand(token)
    assert refused.value.code == "SERVICE_UNAVAILABLE"
    await authenticator.close()


async def test_token_of_an_organisation_that_is_gone_is_refused(
    authenticator: Authenticator, acme: Organisation, issuer: Issuer, database_url: str
):
    """Others in the same check are not."""
    reference = await _referred(authenticator, issuer.token())
    assert isinstance(reference, TokenReference)
    nobody = replace(reference, claims=replace(reference.claims, organisation="nobody"))
    no_name = replace(reference, claims=replace(reference.claims, organisation="a\0b"))
    answers = await authenticator.check([reference, nobody, no_name])
    assert isinstance(answers[reference], Caller)
    assert [await _code(authenticator, each) for each in (nobody, no_name)] == ["INVALID_TOKEN"] * 2


async def test_secret_that_was_rotated_out_ends_with_its_overlap(
    authenticator: Authenticator, acme: Organisation, database_url: str, clock: ManualClock
):
    """Both speak for the same key meanwhile."""
    key = await acme.key(["read:agents"])
    secret = await installation_secret(database_url)
    old_until = clock.now() + timedelta(seconds=60)
    await _execute(
        database_url, "UPDATE keys SET old_hash = hash, hash = $1, old_until = $2", hash_of(secret, "new"), old_until
    )
    old = await authenticator.authenticate(key)
    new = await authenticator.stand(KeyReference(hash_of(secret, "new")))
    assert (old.subject, old.expires_at, new.expires_at) == (new.subject, old_until, None)
    await clock.advance(60)
    with pytest.raises(HubError):
        await authenticator.authenticate(key)


async def test_limits_are_the_organisations_own(
    authenticator: Authenticator, organisations: Organisations, database_url: str
):
    """Over the tier's; the rest is the tier's."""
    organisation = await organisations.create(tier="free", limits={})
    assert (await authenticator.authenticate(await organisation.key())).limits == TIERS["free"]
    await _execute(database_url, 'UPDATE organisations SET limits = \'{"concurrent_connections": 7, "later": 1}\'')
    caller = await authenticator.authenticate(await organisation.key())
    assert caller.limits == replace(TIERS["free"], concurrent_connections=7)


async def test_database_that_is_away_says_nothing_about_credentials(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation
):
    """503 for the whole check."""
    reference = await _referred(authenticator, await acme.key())
    await database.close()
    with pytest.raises(HubError) as refused:
        await authenticator.check([reference, KeyReference(new_id().bytes)])
    assert refused.value.code == "SERVICE_UNAVAILABLE"
    assert await authenticator.check([]) == {}


async def test_checks_and_requests_may_come_together(authenticator: Authenticator, acme: Organisation):
    """They share nothing but the memory."""
    key = await acme.key()
    reference = await _referred(authenticator, key)
    checks = asyncio.gather(*(authenticator.check([reference]) for _ in range(20)))
    caller = await authenticator.authenticate(key)
    assert [answers[reference] for answers in await checks] == [caller] * 20
