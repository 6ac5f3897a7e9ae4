"""The issuer's keys: which are taken, when they are fetched, and what holds while they cannot be."""

import asyncio
import ipaddress
from typing import Any

import orjson
import pytest
from aiohttp import web

from core.auth.jwks import MOST_BYTES, Jwks, JwksError, parse_jwks
from core.errors import HubError
from core.outbound import Outbound
from tests.core.auth.issuer import Issuer, jwk, rsa_key, silent_server
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually


def _set(*keys: object) -> bytes:
    return orjson.dumps({"keys": keys})


def test_usable_keys_are_taken_by_name():
    """The first of two with one name stands; a key need not have a name or an algorithm."""
    k1, k2 = rsa_key("k1"), rsa_key("k2")
    keys = parse_jwks(_set(jwk("a", k1), jwk("a", k2), jwk(None, k2, alg=None)))
    assert keys == {"a": k1.public_key(), None: k2.public_key()}


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "EC"},
        {"use": "enc"},
        {"use": None},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"d": "AQAB"},
        {"kid": 7},
        {"n": None},
        {"n": 7},
        {"n": "not base64!"},
        {"n": "é"},
        {"e": "Ag"},
        {"e": "AQAAAAAAAQ"},
    ],
)
def test_unusable_key_is_passed_over(changes: dict[str, Any]):
    """Another kind, another use, a private key, nonsense."""
    good = jwk("good", rsa_key("k2"))
    keys = parse_jwks(_set(jwk("bad", rsa_key("k1"), **changes), "nonsense", good))
    assert list(keys) == ["good"]


def test_short_key_is_passed_over():
    """RFC 7518, section 3.3: 2048 bits or more."""
    keys = parse_jwks(_set(jwk("short", rsa_key("short", 1024)), jwk("good", rsa_key("k1"))))
    assert list(keys) == ["good"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [7]}'])
def test_body_without_keys_is_refused(body: bytes):
    """An error page must not replace the keys that are known."""
    with pytest.raises(JwksError):
        parse_jwks(body)


async def test_keys_are_fetched_once_for_all_who_ask_together(jwks: Jwks, issuer: Issuer):
    """And not again while they are fresh."""
    found = await asyncio.gather(*(jwks.key("k1") for _ in range(20)))
    assert found == [rsa_key("k1").public_key()] * 20
    await jwks.key("k1")
    assert issuer.fetches == 1


async def test_one_who_gives_up_does_not_end_the_fetch_for_others(jwks: Jwks, issuer: Issuer):
    """The fetch belongs to all."""
    first, second = asyncio.ensure_future(jwks.key("k1")), asyncio.ensure_future(jwks.key("k1"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == rsa_key("k1").public_key()
    assert issuer.fetches == 1


async def test_keys_are_fetched_anew_after_ten_minutes(jwks: Jwks, issuer: Issuer, clock: ManualClock):
    """A key that the issuer withdrew ends."""
    await jwks.key("k1")
    issuer.published = [jwk("k2", rsa_key("k2"))]
    await clock.advance(599)
    assert await jwks.key("k1") is not None
    await clock.advance(1)
    assert jwks.known("k1") is None
    assert await jwks.key("k1") is None
    assert issuer.fetches == 2


async def test_unknown_name_fetches_at_most_once_in_thirty_seconds(jwks: Jwks, issuer: Issuer, clock: ManualClock):
    """A rotated key is found at once; invented names are not a way to hammer the issuer."""
    await jwks.key("k1")
    issuer.published = [jwk("k1", rsa_key("k1")), jwk("k2", rsa_key("k2"))]
    assert await jwks.key("k2") is None
    await clock.advance(30)
    assert await jwks.key("k2") == rsa_key("k2").public_key()
    for name in ("x", "y", "z"):
        assert await jwks.key(name) is None
    assert issuer.fetches == 2


async def test_token_without_name_needs_a_single_key(jwks: Jwks, issuer: Issuer, clock: ManualClock):
    """With several it would be a guess."""
    assert await jwks.key(None) == rsa_key("k1").public_key()
    issuer.published.append(jwk("k2", rsa_key("k2")))
    await clock.advance(600)
    assert await jwks.key(None) is None


async def test_keys_stay_while_the_issuer_fails_but_no_longer_than_a_day(
    jwks: Jwks, issuer: Issuer, clock: ManualClock
):
    """An outage of the issuer is not one of the hub; a day later nobody can say that the keys still hold."""
    await jwks.key("k1")
    issuer.answer = web.Response(status=500)
    await clock.advance(601)
    assert await jwks.key("k1") is not None
    await clock.advance(24 * 3600 - 602)
    assert await jwks.key("k1") is not None
    await clock.advance(30)
    with pytest.raises(HubError) as caught:
        await jwks.key("k1")
    assert (caught.value.code, caught.value.retry_after) == ("SERVICE_UNAVAILABLE", 30)


async def test_nobody_waits_for_an_issuer_that_failed_last_time(jwks: Jwks, issuer: Issuer, clock: ManualClock):
    """The attempt goes on beside; its outcome holds from then on."""
    await jwks.key("k1")
    issuer.answer = web.Response(status=500)
    await clock.advance(601)
    await jwks.key("k1")
    issuer.answer, issuer.published = None, [jwk("k2", rsa_key("k2"))]
    await clock.advance(30)
    assert await jwks.key("k1") is not None  # from what is kept
    await eventually(lambda: jwks.known("k2") is not None, what="the attempt beside succeeded")
    assert await jwks.key("k1") is None


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=404),
        web.Response(status=302, headers={"Location": "/elsewhere"}),
        web.Response(body=b"{}"),
        web.Response(body=b" " * (MOST_BYTES + 1)),
    ],
    ids=["404", "redirect", "no keys", "too large"],
)
async def test_keys_that_were_never_fetched_are_a_matter_of_the_service(
    jwks: Jwks, issuer: Issuer, answer: web.Response
):
    """The token may be good: the client shall come again, not sign in again."""
    issuer.answer = answer
    with pytest.raises(HubError) as caught:
        await jwks.key("k1")
    assert caught.value.code == "SERVICE_UNAVAILABLE"
    with pytest.raises(HubError):
        await jwks.key("k1")
    assert issuer.fetches == 1


async def test_issuer_on_loopback_needs_to_be_allowed(issuer: Issuer, clock: ManualClock):
    """Its URL is judged like any other."""
    keys = Jwks(issuer.url, Outbound([ipaddress.ip_network("10.0.0.0/8")], clock), clock)
    with pytest.raises(HubError) as caught:
        await keys.key("k1")
    assert caught.value.code == "SERVICE_UNAVAILABLE"
    assert issuer.fetches == 0


async def test_silent_issuer_is_given_up(clock: ManualClock):
    """After 5 s, with nothing left behind."""
    async with silent_server() as url:
        keys = Jwks(url, Outbound([ipaddress.ip_network("127.0.0.0/8")], clock), clock)
        asked = asyncio.ensure_future(keys.key("k1"))
        await eventually(lambda: clock.sleeping == 1, what="the fetch waits")
        await clock.advance(5)
        with pytest.raises(HubError):
            await asked
    assert clock.sleeping == 0


async def test_close_ends_a_fetch(clock: ManualClock):
    """No task outlives its owner."""
    async with silent_server() as url:
        keys = Jwks(url, Outbound([ipaddress.ip_network("127.0.0.0/8")], clock), clock)
        asked = asyncio.ensure_future(keys.key("k1"))
        await eventually(lambda: clock.sleeping == 1, what="the fetch waits")
        await keys.close()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert clock.sleeping == 0
