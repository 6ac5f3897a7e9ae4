"""Wrong credentials are bounded by address; good ones are not."""

import ipaddress
from collections.abc import AsyncIterator

import pytest

from core.auth.failures import MOST_AT_ONCE
from tests.harness.clock import ManualClock
from tests.rest.declared import operations
from tests.rest.server import RestServer, serve

WRONG = "aim_live_" + "x" * 43
PROXY = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8")]


@pytest.fixture
async def behind(database_url: str, clock: ManualClock) -> AsyncIterator[RestServer]:
    """The door behind a proxy that it trusts."""
    async with serve(database_url, clock, operations().values(), trusted=PROXY) as served:
        yield served


def _from(said: str) -> dict[str, str]:
    return {"X-Forwarded-For": said}


async def test_wrong_credentials_over_the_bound_are_429(behind: RestServer, key: str, clock: ManualClock) -> None:
    """With Retry-After; others, requests without a credential and good ones are answered as ever."""
    here = _from("203.0.113.9, 192.0.2.1, 10.1.2.3")
    for _ in range(MOST_AT_ONCE):
        (await behind.call("GET", "/v2/agents", WRONG, headers=here)).error(401, "INVALID_API_KEY")
    for path in ("/v2/agents", "/v2/batch"):
        refused = await behind.call("POST", path, WRONG, headers=here, body={})
        refused.error(429, "RATE_LIMIT_EXCEEDED")
        assert refused.headers["Retry-After"] == "1"
    assert (await behind.call("GET", "/v2/agents", key, headers=here)).status == 200
    (await behind.call("GET", "/v2/agents", headers=here)).error(401, "AUTHENTICATION_REQUIRED")
    other = _from("192.0.2.1, 192.0.2.2")  # what a client writes there itself is not believed
    (await behind.call("GET", "/v2/agents", WRONG, headers=other)).error(401, "INVALID_API_KEY")
    await clock.advance(1)
    (await behind.call("GET", "/v2/agents", WRONG, headers=here)).error(401, "INVALID_API_KEY")


async def test_header_of_nobody_that_is_trusted_is_not_believed(rest: RestServer) -> None:
    """Else anybody could shut another address out, or be a new one each time."""
    for _ in range(MOST_AT_ONCE + 1):
        (await rest.call("GET", "/v2/agents", WRONG, headers=_from("192.0.2.1"))).error(401, "INVALID_API_KEY")
