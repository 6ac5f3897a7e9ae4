"""Health paths: for probes, without a credential."""

import pytest

from tests.rest.server import RestServer


async def test_livez_needs_no_credential(rest: RestServer) -> None:
    """A loop that runs says so to anyone."""
    answer = await rest.call("GET", "/livez")
    assert answer.status == 200
    assert answer.json() == {"status": "live"}


async def test_readyz_follows_the_node(rest: RestServer) -> None:
    """200 while the node takes traffic, 503 with Retry-After while it does not."""
    assert (await rest.call("GET", "/readyz")).json() == {"status": "ready"}
    rest.ready = False
    answer = await rest.call("GET", "/readyz")
    answer.error(503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"
    assert (await rest.call("GET", "/livez")).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health_is_only_read(rest: RestServer, path: str) -> None:
    """A probe reads; HEAD is GET without the body."""
    assert (await rest.call("HEAD", path)).status == 200
    answer = await rest.call("POST", path)
    answer.error(405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD"
