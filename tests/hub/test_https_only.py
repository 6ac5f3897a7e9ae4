"""Where those go who ask for a page in plain: to the same page of the host that they named, and nowhere else."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from core.errors import HubError
from hub.https_only import HttpsOnly


async def _page(_request: web.Request) -> web.Response:
    return web.Response(text="a page")


def _refuse(_request: web.Request, error: HubError) -> web.Response:
    return web.json_response({"code": error.code}, status=error.status)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server whose every client comes by a proxy, with pages."""
    app = web.Application()
    app.router.add_get("/{path:.*}", _page)
    HttpsOnly([ipaddress.ip_network("127.0.0.0/8")], _refuse).add_to(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def _asked(port: int, target: str, *hosts: str) -> tuple[int, str | None]:
    """Ask for `target` as it is written here; return the status and the Location of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {target} HTTP/1.1", *(f"Host: {host}" for host in hosts), "X-Forwarded-Proto: http"]
    writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
    head = (await asyncio.wait_for(reader.read(), 10)).decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    writer.close()
    places = [line.partition(": ")[2] for line in head if line.lower().startswith("location:")]
    assert len(places) <= 1
    return int(head[0].split()[1]), places[0] if places else None


@pytest.mark.parametrize("host", ["hub.example.com", "hub.example.com:8443", "192.0.2.1", "[2001:db8::1]:8080"])
@pytest.mark.parametrize("path", ["/", "/?a=1&b=%0d%0aX:%20y", "/docs/rest.md", "/docs/%2e%2e//x", "/web/%0d%0aX:y"])
async def test_page_is_asked_for_again_by_https(port: int, host: str, path: str):
    """The same page of the same host, as it was written."""
    assert await _asked(port, path, host) == (308, f"https://{host}{path}")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example/",
        "hub@evil.example",
        "evil.example?",
        "evil.example#",
        "evil.example\\x",
        "a b",
        "a,b",
        "hub:port",
        "hub:1:2",
        "[::1",
        "\xe9vil.example",
        '"><script>',
    ],
)
async def test_host_that_is_none_is_refused(port: int, host: str):
    """It would stand in the answer."""
    assert await _asked(port, "/", host) == (400, None)


async def test_several_hosts_or_none_are_refused(port: int):
    """Nobody knows which is meant (RFC 9112, section 3.2)."""
    assert await _asked(port, "/", "one.example", "two.example") == (400, None)
    assert await _asked(port, "/") == (400, None)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("http://evil.example/docs/x?y", "https://hub.example.com/docs/x?y"),
        ("//evil.example/docs/", None),
        ("//evil.example/", None),
        ("/docs", "https://hub.example.com/docs"),
        ("/docsx", None),
    ],
)
async def test_target_never_names_another_host(port: int, target: str, place: str | None):
    """What stands in the request line for a proxy, or looks like a host in a browser."""
    assert await _asked(port, target, "hub.example.com") == (308 if place else 403, place)
