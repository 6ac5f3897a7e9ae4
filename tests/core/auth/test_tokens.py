"""Tokens: only RS256 of the one issuer, for the one audience, within their time."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.auth.tokens import TokenVerifier
from core.errors import HubError
from tests.core.auth.issuer import Issuer, jwk, rsa_key, unsigned
from tests.harness.clock import ManualClock

RS256 = {"alg": "RS256", "typ": "JWT", "kid": "k1"}


async def _refusal(verifier: TokenVerifier, token: str) -> HubError:
    with pytest.raises(HubError) as caught:
        await verifier.verify(token)
    assert token not in caught.value.text
    return caught.value


async def test_good_token_says_who_it_is(verifier: TokenVerifier, issuer: Issuer):
    """Subject, organisation, scopes that the hub has, and the end."""
    token = issuer.token(scope=["read:agents", "openid", "write:twins"])
    claims = await verifier.verify(token)
    assert (claims.subject, claims.organisation) == ("user-1", "acme")
    assert claims.scopes == {"read:agents", "write:twins"}
    assert claims.expires_at.timestamp() == issuer.claims()["exp"]


@pytest.mark.parametrize("scope", ["read:agents openid write:twins", ["read:agents", "write:twins"]])
async def test_scope_may_be_a_text_or_a_list(verifier: TokenVerifier, issuer: Issuer, scope: object):
    """RFC 8693 writes one text; the platform's own tokens have a list."""
    claims = await verifier.verify(issuer.token(scope=scope))
    assert claims.scopes == {"read:agents", "write:twins"}


@pytest.mark.parametrize("audience", ["api.aimatrix.com", ["other", "api.aimatrix.com"]])
async def test_audience_may_be_one_of_several(verifier: TokenVerifier, issuer: Issuer, audience: object):
    """RFC 7519, section 4.1.3."""
    assert await verifier.verify(issuer.token(aud=audience))


async def test_unsigned_token_is_refused(verifier: TokenVerifier, issuer: Issuer):
    """`alg: none`, in every case of its letters, with and without a signature part."""
    for algorithm in ("none", "None", "NONE", "nOnE", ""):
        refusal = await _refusal(verifier, unsigned({**RS256, "alg": algorithm}, issuer.claims()))
        assert refusal.code == "INVALID_TOKEN"
    assert issuer.fetches == 0


async def test_hmac_under_the_public_key_is_refused(verifier: TokenVerifier, issuer: Issuer):
    """The public key is no secret: whoever has it could sign."""
    public = rsa_key("k1").public_key()
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(jwk("k1", rsa_key("k1"))).encode(),
    ):
        for algorithm in ("HS256", "RS256"):
            body = unsigned({**RS256, "alg": algorithm}, issuer.claims()).rpartition(".")[0]
            signature = (
                base64.urlsafe_b64encode(hmac.digest(secret, body.encode(), hashlib.sha256)).decode().rstrip("=")
            )
            assert (await _refusal(verifier, f"{body}.{signature}")).code == "INVALID_TOKEN"


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_other_algorithm_of_the_right_key_is_refused(verifier: TokenVerifier, issuer: Issuer, algorithm: str):
    """Exactly RS256."""
    token = jwt.encode(issuer.claims(), rsa_key("k1"), algorithm=algorithm, headers={"kid": "k1"})
    assert (await _refusal(verifier, token)).code == "INVALID_TOKEN"


async def test_key_in_the_header_is_not_believed(verifier: TokenVerifier, issuer: Issuer):
    """Neither `jwk` nor `jku`: the issuer's keys come from its own address."""
    stranger = rsa_key("stranger")
    for headers in ({"jwk": jwk("k1", stranger)}, {"jku": "http://127.0.0.1:1/"}):
        token = issuer.token(key=stranger, headers=headers)
        assert (await _refusal(verifier, token)).code == "INVALID_TOKEN"


async def test_token_of_a_stranger_is_refused(verifier: TokenVerifier, issuer: Issuer):
    """Whatever key it names."""
    for kid in ("k1", "stranger", None):
        token = issuer.token(key=rsa_key("stranger"), kid=kid)
        assert (await _refusal(verifier, token)).code == "INVALID_TOKEN"


async def test_changed_token_is_refused(verifier: TokenVerifier, issuer: Issuer):
    """Header and claims are signed, and a signature belongs to one token."""
    header, claims, signature = issuer.token().split(".")
    other = issuer.token(sub="user-2").split(".")
    for token in (f"{header}.{other[1]}.{signature}", f"{header}.{claims}.{other[2]}", f"{header}.{claims}."):
        assert (await _refusal(verifier, token)).code == "INVALID_TOKEN"


@pytest.mark.parametrize(
    "headers", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"b64": True}]
)
async def test_extension_that_is_not_understood_is_refused(
    verifier: TokenVerifier, issuer: Issuer, headers: dict[str, Any]
):
    """RFC 7515, section 4.1.11."""
    assert await verifier.verify(issuer.token())
    assert (await _refusal(verifier, issuer.token(headers=headers))).code == "INVALID_TOKEN"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "elsewhere.example"},
        {"iss": None},
        {"iss": ["aimatrix.com"]},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1e300},
        {"exp": 10**15},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\x00b"},
        {"sub": "x" * 256},
        {"sub": "key:0198c0de-0000-7000-8000-000000000000"},
        {"scope": None},
        {"scope": 7},
        {"scope": ["read:agents", 7]},
        {"org_id": None},
        {"org_id": ""},
        {"org_id": 7},
    ],
)
async def test_claim_that_is_missing_or_wrong_is_refused(
    verifier: TokenVerifier, issuer: Issuer, changes: dict[str, Any]
):
    """Each is needed; a subject must not pass for a key's."""
    refusal = await _refusal(verifier, issuer.token(**changes))
    assert refusal.code == "INVALID_TOKEN"
    assert 'error="invalid_token"' in refusal.headers["WWW-Authenticate"]


@pytest.mark.parametrize("payload", [b"", b"7", b"[]", b"{", b"\xff", b"[" * 5000])
async def test_claims_that_are_no_object_are_refused(verifier: TokenVerifier, payload: bytes):
    """Although they are signed."""
    token = jwt.PyJWS().encode(payload, rsa_key("k1"), algorithm="RS256", headers={"kid": "k1"})
    assert (await _refusal(verifier, token)).code == "INVALID_TOKEN"


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", "a.b.c", "a.b", "é.é.é", "\ud800.a.b", "." * 16_384, "a" * 16_385, "eyJ.eyJ.x", "a.b.c.d.e"],
)
async def test_text_that_is_no_token_is_refused(verifier: TokenVerifier, token: str):
    """Whatever it is, no other exception leaves, and nothing is fetched for it."""
    with pytest.raises(HubError) as caught:
        await verifier.verify(token)
    assert caught.value.code == "INVALID_TOKEN"
    assert verifier.recent(token) is None


async def test_token_ends_at_its_time(verifier: TokenVerifier, issuer: Issuer, clock: ManualClock):
    """From that moment on, remembered or not."""
    token = issuer.token(exp=int(clock.now().timestamp()) + 10)
    await verifier.verify(token)
    await clock.advance(9.9)
    assert verifier.recent(token) is not None
    await clock.advance(0.1)
    assert verifier.recent(token) is None
    assert (await _refusal(verifier, token)).code == "EXPIRED_TOKEN"


async def test_expired_token_of_another_audience_is_just_invalid(verifier: TokenVerifier, issuer: Issuer):
    """A new one would not help."""
    assert (await _refusal(verifier, issuer.token(exp=1, aud="other"))).code == "INVALID_TOKEN"
    assert (await _refusal(verifier, issuer.token(exp=1, key=rsa_key("stranger")))).code == "INVALID_TOKEN"


@pytest.mark.parametrize("name", ["iat", "nbf"])
async def test_issuer_whose_clock_is_ahead_gets_thirty_seconds(
    verifier: TokenVerifier, issuer: Issuer, clock: ManualClock, name: str
):
    """And no more."""
    now = int(clock.now().timestamp())
    good: dict[str, Any] = {name: now + 30}
    bad: dict[str, Any] = {name: now + 31}
    assert await verifier.verify(issuer.token(**good))
    assert (await _refusal(verifier, issuer.token(**bad))).code == "INVALID_TOKEN"


async def test_token_without_key_name_uses_the_only_key(verifier: TokenVerifier, issuer: Issuer):
    """`kid` is optional (RFC 7515, section 4.1.4)."""
    assert await verifier.verify(issuer.token(kid=None))


async def test_remembered_token_ends_with_its_key(verifier: TokenVerifier, issuer: Issuer, clock: ManualClock):
    """An issuer that withdraws a key, or puts another in its place, ends what was signed with it."""
    token = issuer.token(exp=int(clock.now().timestamp()) + 3600)
    await verifier.verify(token)
    assert verifier.recent(token) is not None
    issuer.published = [jwk("k1", rsa_key("k2"))]
    await clock.advance(600)
    assert verifier.recent(token) is None
    assert (await _refusal(verifier, token)).code == "INVALID_TOKEN"
    assert verifier.recent(token) is None


async def test_without_an_issuer_every_token_is_refused(issuer: Issuer, clock: ManualClock):
    """And told so."""
    verifier = TokenVerifier(issuer="aimatrix.com", audience="api.aimatrix.com", keys=None, clock=clock)
    refusal = await _refusal(verifier, issuer.token())
    assert (refusal.code, "issuer is configured" in refusal.text) == ("INVALID_TOKEN", True)
    assert verifier.recent(issuer.token()) is None
