"""Who comes in, and how: HTTPS only, TLS and plain on one address, pages of other origins, and how the node is."""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from core.settings import Settings, SettingsError
from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.stream_client import open_stream
from tests.harness.waiting import eventually

PAGE = "https://app.example.com"


def outer_address() -> str | None:
    """Return an address of this machine that is not loopback, None where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # a datagram socket sends nothing by this
        return probe.getsockname()[0]
    return None


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """A certificate authority, and a certificate of it in tmp_path."""
    authority = trustme.CA()
    names = ["127.0.0.1", "localhost", *filter(None, [outer_address()])]
    certificate = authority.issue_cert(*names)
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(tmp_path / "cert.pem", append=True)
    return authority


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    """What a client needs that trusts it."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def tls_hub(
    engines: EngineUrls, database_url: str, redis_url: str, hubs: HubProcesses, tmp_path: Path, trust: ssl.SSLContext
) -> HubProcess:
    """A hub with a certificate, listening on all addresses."""
    environment = {"HUB_TLS_CERT": str(tmp_path / "cert.pem"), "HUB_TLS_KEY": str(tmp_path / "key.pem")}
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    return await hubs.start(urls=urls, environment=environment)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that follows no redirection."""
    async with aiohttp.ClientSession() as session:
        yield session


async def test_one_address_speaks_tls_and_on_the_machine_itself_plain(
    tls_hub: HubProcess, client: aiohttp.ClientSession, trust: ssl.SSLContext, organisation: Organisation
):
    """REST and the stream by TLS, with HSTS; loopback stays plain, without."""
    key = await organisation.key()
    secure = tls_hub.base_url.replace("http:", "https:")
    headers = {"Authorization": f"Bearer {key}"}
    async with client.get(f"{secure}/v2/agents", headers=headers, ssl=trust) as answer:
        assert answer.status == 200
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    async with client.get(f"{tls_hub.base_url}/v2/agents", headers=headers) as answer:
        assert answer.status == 200
        assert "Strict-Transport-Security" not in answer.headers
    async with client.ws_connect(f"{secure}/v2/stream", headers=headers, ssl=trust) as stream:
        assert (await stream.receive_json())["type"] == "welcome"
        await stream.send_json({"id": 1, "type": "subscribe", "channels": ["agents"]})
        assert (await stream.receive_json())["type"] == "subscribed"
        large = {"name": "A" * 200, "config": {"x": "y" * 200_000}}
        async with client.post(f"{secure}/v2/agents", headers=headers, json=large, ssl=trust) as made:
            assert made.status == 201
        assert (await stream.receive_json())["event"]["type"] == "agent.created"
    async with open_stream(tls_hub.stream_url, key) as stream:
        await stream.expect("welcome")


async def test_connections_that_say_nothing_hold_nobody_up(
    tls_hub: HubProcess, client: aiohttp.ClientSession, trust: ssl.SSLContext
):
    """Silent ones, ones that break the handshake, and ones that leave at once."""
    port = int(tls_hub.base_url.rpartition(":")[2])
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
    for _, writer in opened[:10]:
        writer.write(b"\x16\x03\x01garbage" + bytes(600))
    for _, writer in opened[10:20]:
        writer.close()
    secure = tls_hub.base_url.replace("http:", "https:")
    async with client.get(f"{secure}/readyz", ssl=trust) as answer:
        assert answer.status == 200
    for reader, writer in opened[:10]:
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 10)
        writer.close()
    for _, writer in opened[20:]:
        writer.close()
    assert "Traceback" not in tls_hub.output()
    assert await tls_hub.stop() == 0


async def test_plain_from_elsewhere_is_redirected_or_refused(
    engines: EngineUrls,
    database_url: str,
    redis_url: str,
    hubs: HubProcesses,
    tmp_path: Path,
    trust: ssl.SSLContext,
    client: aiohttp.ClientSession,
):
    """By an address that is not loopback: pages go to https, the API is refused, probes are answered."""
    address = outer_address()
    if address is None:
        pytest.skip("this machine has no address but loopback: plain HTTP from elsewhere was NOT tested")
    environment = {
        "HUB_TLS_CERT": str(tmp_path / "cert.pem"),
        "HUB_TLS_KEY": str(tmp_path / "key.pem"),
        "HUB_HOST": "0.0.0.0",  # noqa: S104 - the point of the test
    }
    hub = hubs.prepare(urls=EngineUrls(database_url, engines.superuser_url, redis_url), environment=environment)
    hub.launch()
    found = await eventually(lambda: re.search(r"serves on https://\S+:(\d+)", hub.output()), within=30)
    port = found[1]
    plain, secure = f"http://{address}:{port}", f"https://{address}:{port}"
    async with client.get(f"{secure}/readyz", ssl=trust) as answer:
        assert answer.status == 200
    async with client.get(f"{plain}/readyz") as answer:
        assert answer.status == 200
    async with client.get(f"{plain}/?a=1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (308, f"{secure}/?a=1")
    headers = {"Authorization": "Bearer aim_live_x", "X-Forwarded-Proto": "https"}
    for method, path in (
        ("GET", "/v2/agents"),
        ("POST", "/v2/agents"),
        ("GET", "/v2/stream"),
        ("GET", "/metrics"),
        ("POST", "/"),
    ):
        async with client.request(method, f"{plain}{path}", headers=headers, allow_redirects=False) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (403, "HTTPS_REQUIRED")


async def test_only_trusted_proxies_are_believed(
    engines: EngineUrls, database_url: str, redis_url: str, hubs: HubProcesses, client: aiohttp.ClientSession
):
    """A proxy on this machine says what its client spoke; who comes past it is on the machine itself."""
    hub = await hubs.start(
        urls=EngineUrls(database_url, engines.superuser_url, redis_url),
        environment={"HUB_TRUSTED_PROXIES": "127.0.0.0/8", "HUB_PUBLIC_URL": "https://hub.example.com"},
    )
    for said, status in (
        ("https", 401),
        ("http, https", 401),
        ("https, http", 403),
        ("http", 403),
        ("", 403),
        (None, 401),
    ):
        headers = {} if said is None else {"X-Forwarded-Proto": said}
        async with client.get(f"{hub.base_url}/v2/agents", headers=headers) as answer:
            assert answer.status == status, said
            assert ("Strict-Transport-Security" in answer.headers) == (said is not None and status == 401), said
    async with client.get(
        f"{hub.base_url}/docs/", headers={"X-Forwarded-Proto": "http"}, allow_redirects=False
    ) as answer:
        assert answer.headers["Location"] == "https://hub.example.com/docs/"


async def test_proxy_elsewhere_must_say_what_its_client_spoke(
    engines: EngineUrls, database_url: str, redis_url: str, hubs: HubProcesses, client: aiohttp.ClientSession
):
    """One that says nothing may hand on what came in plain, so all that it brings counts as that."""
    address = outer_address()
    if address is None:
        pytest.skip("this machine has no address but loopback: a proxy elsewhere was NOT tested")
    hub = hubs.prepare(
        urls=EngineUrls(database_url, engines.superuser_url, redis_url),
        environment={"HUB_TRUSTED_PROXIES": address, "HUB_HOST": address},
    )
    hub.launch()
    base = (await eventually(lambda: re.search(r"serves on (http://\S+:\d+)", hub.output()), within=30))[1]
    for said, status in (("https", 401), ("http", 403), (None, 403)):
        headers = {} if said is None else {"X-Forwarded-Proto": said}
        async with client.get(f"{base}/v2/agents", headers=headers) as answer:
            assert answer.status == status, said
    async with client.get(f"{base}/", allow_redirects=False) as answer:
        assert answer.headers["Location"] == f"https{base.removeprefix('http')}/"
    async with client.get(f"{base}/readyz") as answer:
        assert answer.status == 200


def test_half_of_a_certificate_is_said(monkeypatch: pytest.MonkeyPatch):
    """At the start, by the names of the settings."""
    monkeypatch.setenv("HUB_TLS_CERT", "/nowhere/cert.pem")
    with pytest.raises(SettingsError, match="HUB_TLS_KEY go together"):
        Settings.load()


async def test_certificate_that_is_none_is_said(
    hubs: HubProcesses, engines: EngineUrls, database_url: str, redis_url: str
):
    """No traceback; the hub does not start."""
    environment = {"HUB_TLS_CERT": "/nowhere/cert.pem", "HUB_TLS_KEY": "/nowhere/key.pem"}
    hub = hubs.prepare(urls=EngineUrls(database_url, engines.superuser_url, redis_url), environment=environment)
    hub.launch()
    await eventually(lambda: not hub.running, within=30)
    assert "HUB_TLS_CERT and HUB_TLS_KEY cannot be used" in hub.output()
    assert "Traceback" not in hub.output()


@pytest.fixture
async def open_to_page(engines: EngineUrls, database_url: str, redis_url: str, hubs: HubProcesses) -> HubProcess:
    """A hub that lets pages of one other origin in."""
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    return await hubs.start(urls=urls, environment={"HUB_ORIGINS": PAGE})


async def test_pages_of_allowed_origins_use_rest(
    open_to_page: HubProcess, client: aiohttp.ClientSession, organisation: Organisation
):
    """A preflight needs no credential; answers and refusals can be read; other origins get nothing."""
    url = f"{open_to_page.base_url}/v2/agents"
    asks = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization, if-match"}
    async with client.options(url, headers={"Origin": PAGE, **asks}) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization, if-match"
        assert "Origin" in answer.headers["Vary"]
    key = await organisation.key()
    for credential, status in ((key, 200), ("aim_live_none", 401)):
        async with client.get(url, headers={"Origin": PAGE, "Authorization": f"Bearer {credential}"}) as answer:
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            assert "X-RateLimit-Remaining" in answer.headers["Access-Control-Expose-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
    for origin in ("https://evil.example", "null", f"{PAGE}.evil.example"):
        async with client.options(url, headers={"Origin": origin, **asks}) as answer:
            assert not [name for name in answer.headers if name.startswith("Access-Control")]
        async with client.get(url, headers={"Origin": origin, "Authorization": f"Bearer {key}"}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "Origin" in answer.headers["Vary"]


async def test_healthz_tells_each_part(open_to_page: HubProcess, client: aiohttp.ClientSession):
    """Without a credential, with how long each took."""

    async def told() -> Any:
        async with client.get(f"{open_to_page.base_url}/healthz") as answer:
            return answer.status, await answer.json()

    # A node serves before its feed is connected.
    await eventually(lambda: _is_healthy(told()), within=10)
    _, health = await told()
    assert set(health["parts"]) == {"database", "redis", "feed"}
    assert all(part["status"] == "up" and part["latency_ms"] >= 0 for part in health["parts"].values())
    async with client.head(f"{open_to_page.base_url}/healthz") as answer:
        assert answer.status == 200


async def _is_healthy(told: Awaitable[Any]) -> bool:
    status, health = await told
    return (status, health["status"]) == (200, "healthy")
