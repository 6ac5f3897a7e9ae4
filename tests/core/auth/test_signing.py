"""The hub's own keys: one signs, those before it are known until their tokens have ended."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import asyncpg
import jwt
import orjson
import pytest
from jwt.types import Options

from core.auth.jwks import parse_jwks
from core.auth.signing import SigningKeys, TokenIssuer, ensure_signing_key, rotate_signing_key
from core.auth.tokens import TokenVerifier
from core.errors import HubError
from core.ids import new_id
from core.store.database import Database, connect_as
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation

NAME = "https://hub.example"
SECRET = "s" * 40


class Issuing:
    """One node that signs and verifies."""

    def __init__(self, database: Database, url: str, clock: ManualClock) -> None:
        self.keys = SigningKeys(database, url, SECRET, clock)
        self.issuer = TokenIssuer(self.keys, name=NAME, audience="api.aimatrix.com")
        self.verifier = TokenVerifier(
            issuer="aimatrix.com", audience="api.aimatrix.com", keys=None, clock=clock, own={NAME: self.keys}
        )
        self._clock = clock

    async def token(self, organisation: Organisation, **options: object) -> str:
        now = self._clock.now()
        return await self.issuer.issue(
            organisation.caller(),
            "ada",
            ["read:agents"],
            issued_at=now,
            expires_at=now + timedelta(minutes=10),
            **options,  # pyright: ignore[reportArgumentType] - resource_ids
        )


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[Database]:
    """The pool of a node."""
    made = Database(database_url, role="hub_app", size=2)
    yield made
    await made.close()


@pytest.fixture
async def node(database: Database, database_url: str, clock: ManualClock) -> Issuing:
    """A node of a hub that has its first key."""
    await ensure_signing_key(database_url, SECRET)
    return Issuing(database, database_url, clock)


async def _rotate(url: str, *, end_tokens: bool = False) -> str:
    connection = await connect_as(url, "hub_owner")
    try:
        return await rotate_signing_key(connection, SECRET, end_tokens=end_tokens)
    finally:
        await connection.close()


async def _kids(keys: SigningKeys) -> list[str]:
    return [key["kid"] for key in orjson.loads(await keys.key_set())["keys"]]


async def test_own_token_has_the_documented_claims(node: Issuing, organisation: Organisation):
    """As the platform's tokens have them, and the hub accepts it."""
    token = await node.token(organisation)
    assert jwt.get_unverified_header(token)["alg"] == "RS256"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert list(claims) == ["sub", "iss", "aud", "exp", "iat", "scope", "org_id"]
    assert (claims["iss"], claims["scope"], claims["org_id"]) == (NAME, ["read:agents"], str(organisation.id))
    accepted = await node.verifier.verify(token)
    assert (accepted.subject, accepted.scopes, accepted.resource_ids) == ("ada", {"read:agents"}, None)


async def test_restriction_to_resources_is_in_the_token(node: Issuing, organisation: Organisation):
    """To none, too."""
    ids = [new_id(), new_id()]
    assert (await node.verifier.verify(await node.token(organisation, resource_ids=ids))).resource_ids == set(ids)
    assert (await node.verifier.verify(await node.token(organisation, resource_ids=[]))).resource_ids == frozenset()


async def test_others_can_verify_by_the_key_set(node: Issuing, organisation: Organisation):
    """Only public parts are in it."""
    body = await node.keys.key_set()
    (key,) = orjson.loads(body)["keys"]
    assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}
    token = await node.token(organisation)
    public = parse_jwks(body)[jwt.get_unverified_header(token)["kid"]]
    # Its times are those of the clock in the hand.
    options: Options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, public, algorithms=["RS256"], audience="api.aimatrix.com", issuer=NAME, options=options)
    assert claims["sub"] == "ada"


async def test_rotation_ends_no_token(node: Issuing, organisation: Organisation, database_url: str, clock: ManualClock):
    """The new key signs within a second, the old one stays in the set."""
    old = await node.token(organisation)
    kid = await _rotate(database_url)
    await clock.advance(1)
    new = await node.token(organisation)
    assert jwt.get_unverified_header(new)["kid"] == kid
    assert await _kids(node.keys) == [kid, jwt.get_unverified_header(old)["kid"]]
    for token in (old, new):
        assert await node.verifier.verify(token)


async def test_node_that_has_not_heard_of_a_rotation_takes_the_new_key_at_once(
    node: Issuing, database: Database, organisation: Organisation, database_url: str, clock: ManualClock
):
    """An unknown name is looked up, not refused from memory."""
    other = Issuing(database, database_url, clock)
    await node.verifier.verify(await node.token(organisation))
    await _rotate(database_url)
    await clock.advance(0.3)
    assert await node.verifier.verify(await other.token(organisation))


async def test_rotation_may_end_the_old_tokens(
    node: Issuing, organisation: Organisation, database_url: str, clock: ManualClock
):
    """Within a second, also where they were verified before."""
    old = await node.token(organisation)
    assert await node.verifier.verify(old)
    await _rotate(database_url, end_tokens=True)
    await clock.advance(1)
    assert node.verifier.recent(old) is None
    with pytest.raises(HubError) as refused:
        await node.verifier.verify(old)
    assert refused.value.code == "INVALID_TOKEN"
    assert len(await _kids(node.keys)) == 1


async def test_nodes_that_start_together_make_one_key(database_url: str, node: Issuing):
    """And none where there is one; another where it was encrypted under another secret."""
    for _ in range(3):
        await ensure_signing_key(database_url, SECRET)
    (first,) = await _kids(node.keys)
    await ensure_signing_key(database_url, "another " * 5)
    connection = await connect_as(database_url, "hub_owner")
    rows = await connection.fetch("SELECT kid FROM signing_keys WHERE retired_at IS NULL")
    await connection.close()
    assert [row["kid"] for row in rows] != [first]


async def test_private_key_is_encrypted_and_not_for_the_nodes_role(node: Issuing, database_url: str):
    """Neither a statement that slipped in, nor a backup alone, gives it away; a retired one is gone."""
    app = await connect_as(database_url, "hub_app")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.fetch("SELECT private_key FROM signing_keys")
    await app.close()
    await _rotate(database_url)
    owner = await connect_as(database_url, "hub_owner")
    rows = await owner.fetch("SELECT private_key, retired_at FROM signing_keys ORDER BY created_at")
    await owner.close()
    assert rows[0]["private_key"] == ""
    assert rows[1]["private_key"].startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")


@pytest.mark.parametrize("issuer", ["aimatrix.com", "https://elsewhere.example", ""])
async def test_own_key_signs_for_no_other_issuer(
    node: Issuing, organisation: Organisation, clock: ManualClock, issuer: str
):
    """The name chooses the keys, so a token of the hub's key under another name is a stranger's."""
    now = int(clock.now().timestamp())
    claims = {
        "sub": "a",
        "iss": issuer,
        "aud": "api.aimatrix.com",
        "iat": now,
        "exp": now + 60,
        "scope": [],
        "org_id": "x",
    }
    with pytest.raises(HubError) as refused:
        await node.verifier.verify(await node.keys.sign(claims))
    assert refused.value.code == "INVALID_TOKEN"


@pytest.mark.parametrize("ids", ["x", [1], ["x"], {"a": 1}, [str(new_id()), None]])
async def test_restriction_that_cannot_be_read_is_refused(node: Issuing, clock: ManualClock, ids: object):
    """It must not become none."""
    now = int(clock.now().timestamp())
    claims = {
        "sub": "a",
        "iss": NAME,
        "aud": "api.aimatrix.com",
        "iat": now,
        "exp": now + 60,
        "scope": [],
        "org_id": "x",
    }
    with pytest.raises(HubError) as refused:
        await node.verifier.verify(await node.keys.sign({**claims, "resource_ids": ids}))
    assert refused.value.code == "INVALID_TOKEN"
