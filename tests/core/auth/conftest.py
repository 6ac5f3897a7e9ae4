"""Fixtures of the access tests."""

import ipaddress
from collections.abc import AsyncGenerator

import pytest

from core.auth.authenticator import Authenticator
from core.auth.jwks import Jwks
from core.auth.tokens import TokenVerifier
from core.outbound import Outbound
from core.store.migrate import installation_secret
from tests.core.auth.counted import CountedDatabase
from tests.core.auth.issuer import Issuer, issuing
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations


@pytest.fixture
async def issuer(clock: ManualClock) -> AsyncGenerator[Issuer]:
    """An issuer of tokens with one key, k1."""
    async with issuing(clock) as made:
        yield made


@pytest.fixture
async def jwks(issuer: Issuer, clock: ManualClock) -> AsyncGenerator[Jwks]:
    """The issuer's keys, as the hub sees them."""
    made = Jwks(issuer.url, Outbound([ipaddress.ip_network("127.0.0.0/8")], clock), clock)
    yield made
    await made.close()


@pytest.fixture
def verifier(jwks: Jwks, clock: ManualClock) -> TokenVerifier:
    """The verifier of the issuer's tokens."""
    return TokenVerifier(issuer="aimatrix.com", audience="api.aimatrix.com", keys=jwks, clock=clock)


@pytest.fixture
async def database(database_url: str) -> AsyncGenerator[CountedDatabase]:
    """The node's pool."""
    made = CountedDatabase(database_url)
    yield made
    await made.close()


@pytest.fixture
async def authenticator(
    database: CountedDatabase, database_url: str, verifier: TokenVerifier, clock: ManualClock
) -> AsyncGenerator[Authenticator]:
    """A node's authenticator."""
    made = Authenticator(database, await installation_secret(database_url), verifier, clock, size=100)
    yield made
    await made.close()


@pytest.fixture
async def acme(organisations: Organisations) -> Organisation:
    """The organisation that the issuer's tokens name."""
    return await organisations.create("acme", tier="pro", limits={})
