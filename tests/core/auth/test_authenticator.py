"""From a credential to a caller, and how soon a change is noticed."""

import asyncio
import math
from datetime import timedelta
from uuid import UUID

import pytest

from core.auth.authenticator import Authenticator, credential_of
from core.auth.caller import Caller
from core.auth.keys import make_key
from core.auth.organisations import set_tier
from core.errors import HubError
from core.ids import new_id
from core.store.database import connect_as
from tests.core.auth.counted import CountedDatabase
from tests.core.auth.issuer import Issuer
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation


async def _refusal(authenticator: Authenticator, credential: str) -> HubError:
    with pytest.raises(HubError) as caught:
        await authenticator.authenticate(credential)
    assert not credential or credential not in caught.value.text
    assert authenticator.recent(credential) is None
    return caught.value


async def _change_tier(database_url: str, slug: str, tier: str) -> None:
    connection = await connect_as(database_url, "hub_owner")
    await set_tier(connection, slug, tier)
    await connection.close()


async def test_key_gives_its_caller(authenticator: Authenticator, acme: Organisation):
    """Organisation, scopes, tier and the resources that it is restricted to."""
    resource: UUID = new_id()
    caller = await authenticator.authenticate(await acme.key(["read:agents"], resource_ids=[resource]))
    assert caller == Caller(
        org_id=acme.id,
        subject=caller.subject,
        scopes=frozenset({"read:agents"}),
        tier="pro",
        resource_ids=frozenset({resource}),
        expires_at=None,
    )
    assert caller.subject.startswith("key:")


async def test_answer_is_kept_for_a_second(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation, clock: ManualClock
):
    """And not longer."""
    key = await acme.key()
    assert authenticator.recent(key) is None
    caller = await authenticator.authenticate(key)
    await clock.advance(0.99)
    assert authenticator.recent(key) == caller
    assert await authenticator.authenticate(key) == caller
    assert database.lookups == 1
    await clock.advance(0.01)
    assert authenticator.recent(key) is None
    await authenticator.authenticate(key)
    assert database.lookups == 2


async def test_second_counts_from_the_question(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation, clock: ManualClock
):
    """A slow answer is as old as its question: it is given to who waited, and not kept beyond."""
    key = await acme.key()
    database.gate.clear()
    asked = asyncio.ensure_future(authenticator.authenticate(key))
    await clock.advance(1.5)
    database.gate.set()
    assert (await asked).org_id == acme.id
    assert authenticator.recent(key) is None


async def test_revoked_key_ends_within_the_second(authenticator: Authenticator, acme: Organisation, clock: ManualClock):
    """Without any message."""
    key = await acme.key()
    await authenticator.authenticate(key)
    await acme.revoke(key)
    await clock.advance(1)
    assert authenticator.recent(key) is None
    refusal = await _refusal(authenticator, key)
    assert (refusal.code, refusal.text) == ("INVALID_API_KEY", "The API key was revoked")


async def test_expired_key_ends_at_its_time(authenticator: Authenticator, acme: Organisation, clock: ManualClock):
    """Also while its answer is kept."""
    key = await acme.key(expires_at=clock.now() + timedelta(seconds=0.5))
    assert await authenticator.authenticate(key)
    await clock.advance(0.5)
    refusal = await _refusal(authenticator, key)
    assert (refusal.code, refusal.text) == ("INVALID_API_KEY", "The API key has expired")


async def test_changed_tier_is_noticed(
    authenticator: Authenticator, acme: Organisation, issuer: Issuer, database_url: str, clock: ManualClock
):
    """Of keys and tokens alike."""
    credentials = [await acme.key(), issuer.token()]
    assert [(await authenticator.authenticate(each)).tier for each in credentials] == ["pro", "pro"]
    await _change_tier(database_url, "acme", "enterprise")
    await clock.advance(1)
    assert [(await authenticator.authenticate(each)).tier for each in credentials] == ["enterprise", "enterprise"]


@pytest.mark.parametrize("what", ["known", "unknown"])
async def test_those_who_ask_together_share_one_look_up(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation, what: str
):
    """A stampede of one key is one query, whatever its answer."""
    key = await acme.key() if what == "known" else make_key()
    asked = [asyncio.ensure_future(authenticator.authenticate(key)) for _ in range(50)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert database.lookups == 1
    assert all(isinstance(answer, Caller if what == "known" else HubError) for answer in answers)


async def test_one_who_goes_away_does_not_end_the_look_up(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation, clock: ManualClock
):
    """The others still get their answer."""
    key = await acme.key()
    database.gate.clear()
    first = asyncio.ensure_future(authenticator.authenticate(key))
    second = asyncio.ensure_future(authenticator.authenticate(key))
    await clock.settle()
    first.cancel()
    database.gate.set()
    assert (await second).org_id == acme.id
    assert database.lookups == 1


async def test_late_comer_does_not_join_an_old_look_up(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation, clock: ManualClock
):
    """What it read may be from before the key was revoked."""
    key = await acme.key()
    database.gate.clear()
    first = asyncio.ensure_future(authenticator.authenticate(key))
    await clock.advance(1)
    second = asyncio.ensure_future(authenticator.authenticate(key))
    await clock.settle()
    database.gate.set()
    await asyncio.gather(first, second)
    assert database.lookups == 2


async def test_unknown_key_is_looked_up_once_a_second(
    authenticator: Authenticator, database: CountedDatabase, clock: ManualClock
):
    """Well formed, but nobody's."""
    key = make_key()
    for _ in range(3):
        assert (await _refusal(authenticator, key)).code == "INVALID_API_KEY"
    assert database.lookups == 1
    await clock.advance(1)
    await _refusal(authenticator, key)
    assert database.lookups == 2


async def test_many_wrong_keys_do_not_push_out_a_good_one(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation
):
    """Both memories are bounded, and apart."""
    key = await acme.key()
    await authenticator.authenticate(key)
    for _ in range(150):
        await _refusal(authenticator, make_key())
    assert database.lookups == 151
    assert authenticator.recent(key) is not None


@pytest.mark.parametrize(
    "key", ["aim_live_", "aim_", "aim_live_" + "0" * 49, "aim_live_é", "aim_live_\ud800" + "0" * 48]
)
async def test_misspelt_key_is_refused_without_a_look_up(
    authenticator: Authenticator, database: CountedDatabase, key: str
):
    """Its form or its checksum is wrong."""
    assert (await _refusal(authenticator, key)).code == "INVALID_API_KEY"
    assert database.lookups == 0


@pytest.mark.parametrize("credential", ["", "password", "é", "\ud800"])
async def test_credential_of_no_kind_is_refused(authenticator: Authenticator, credential: str):
    """Neither a key nor a token."""
    assert (await _refusal(authenticator, credential)).code == "INVALID_API_KEY"


async def test_database_that_is_away_is_not_a_wrong_key(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation
):
    """The client shall come again with the same key; the failure is not remembered."""
    key = await acme.key()
    await database.close()
    with pytest.raises(HubError) as caught:
        await authenticator.authenticate(key)
    assert (caught.value.code, caught.value.retry_after) == ("SERVICE_UNAVAILABLE", 1)
    with pytest.raises(HubError):
        await authenticator.authenticate(key)
    assert database.lookups == 2


async def test_token_gives_its_caller(authenticator: Authenticator, acme: Organisation, issuer: Issuer):
    """The tier is the organisation's."""
    token = issuer.token()
    caller = await authenticator.authenticate(token)
    assert (caller.org_id, caller.subject, caller.tier) == (acme.id, "user-1", "pro")
    assert caller.scopes == {"read:agents", "write:agents"}
    assert caller.expires_at is not None
    assert caller.expires_at.timestamp() == issuer.claims()["exp"]
    assert authenticator.recent(token) == caller


async def test_token_may_name_the_organisation_by_id(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation, issuer: Issuer
):
    """In any case of its letters, with one look-up."""
    for name in (str(acme.id), str(acme.id).upper()):
        assert (await authenticator.authenticate(issuer.token(org_id=name))).org_id == acme.id
    assert database.lookups == 1


@pytest.mark.parametrize("name", ["nobody", "a\0b", "0198c0de-0000-7000-8000-000000000000", "x" * 1000])
async def test_token_of_an_unknown_organisation_is_refused(authenticator: Authenticator, issuer: Issuer, name: str):
    """Whatever it is called; what cannot be a name is never looked up."""
    refusal = await _refusal(authenticator, issuer.token(org_id=name))
    assert (refusal.code, "organisation" in refusal.text) == ("INVALID_TOKEN", True)


async def test_organisation_is_looked_up_once_for_many_tokens(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation, issuer: Issuer
):
    """And a missing one too."""
    await asyncio.gather(*(authenticator.authenticate(issuer.token(sub=f"user-{n}")) for n in range(10)))
    assert database.lookups == 1
    for n in range(3):
        await _refusal(authenticator, issuer.token(org_id="nobody", sub=f"user-{n}"))
    assert database.lookups == 2


async def test_recent_token_ends_at_its_time(
    authenticator: Authenticator, acme: Organisation, issuer: Issuer, clock: ManualClock
):
    """Also while the organisation's answer is kept."""
    token = issuer.token(exp=math.floor(clock.now().timestamp()) + 0.5)
    await authenticator.authenticate(token)
    await clock.advance(0.5)
    assert (await _refusal(authenticator, token)).code == "EXPIRED_TOKEN"


async def test_closed_authenticator_leaves_no_look_up(
    authenticator: Authenticator, database: CountedDatabase, acme: Organisation, clock: ManualClock
):
    """Those who wait are cancelled."""
    database.gate.clear()
    asked = asyncio.ensure_future(authenticator.authenticate(make_key()))
    await clock.settle()
    await authenticator.close()
    with pytest.raises(asyncio.CancelledError):
        await asked


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER   abc ", " Bearer abc"])
def test_bearer_credential_is_taken_from_the_header(header: str):
    """The scheme in any case (RFC 9110, section 11.1)."""
    assert credential_of(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "   ", "Bearer", "Bearer ", "Basic YTpi", "Token abc", "abc"])
def test_header_without_bearer_credential_asks_for_one(header: str | None):
    """RFC 6750, section 3: the challenge names no error, since nothing was sent."""
    with pytest.raises(HubError) as caught:
        credential_of(header)
    assert caught.value.code == "AUTHENTICATION_REQUIRED"
    assert caught.value.headers == {"WWW-Authenticate": 'Bearer realm="aimatrix"'}


@pytest.mark.parametrize("header", ["Bearer a b", "Bearer é", "Bearer a\x00", "Bearer \udcff", "aim_live_abc"])
def test_header_with_what_is_no_credential_is_refused(header: str):
    """The text does not repeat it."""
    with pytest.raises(HubError) as caught:
        credential_of(header)
    assert caught.value.code == "INVALID_API_KEY"
    assert "abc" not in caught.value.text
