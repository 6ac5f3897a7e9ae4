"""What aiohttp refuses by itself has the error object too, and other doors beside this one are left alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.harness.clock import ManualClock
from tests.rest.declared import operations
from tests.rest.server import RestServer, head, read_answer, serve

# So long aiohttp waits for the rest of a body that nobody has read.
LINGERING_SECONDS = 10


async def _socket(request: web.Request) -> web.StreamResponse:
    raise web.HTTPUpgradeRequired(text=f"<b>{request.path}</b>")


async def _page(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="page")


async def _broken(_request: web.Request) -> web.StreamResponse:
    raise RuntimeError("password=hunter2")


async def _moved(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/")


async def _late(_request: web.Request) -> web.StreamResponse:
    raise TimeoutError


@pytest.fixture
async def shared(database_url: str, clock: ManualClock) -> AsyncIterator[RestServer]:
    """The door beside another one, whose routes come later."""
    more = [
        web.get("/v2/socket", _socket),
        web.get("/", _page),
        web.get("/broken", _broken),
        web.get("/moved", _moved),
        web.get("/late", _late),
    ]
    async with serve(database_url, clock, operations().values(), more) as served:
        yield served


@pytest.mark.parametrize(
    "request_",
    [
        b"garbage\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/9.9\r\nHost: hub\r\n\r\n",
        b"FETCH /livez HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"GET /v2/agents/\xff HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: hub\r\nX-A: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: hub\r\nX-A: a\x01\r\n\r\n",
        b"POST /v2/agents HTTP/1.1\r\nHost: hub\r\nContent-Length: x\r\n\r\n",
        b"POST /v2/agents HTTP/1.1\r\nHost: hub\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400(rest: RestServer, request_: bytes) -> None:
    """The error object, which repeats nothing of the request; then the connection is closed."""
    async with rest.connection() as (reader, writer):
        writer.write(request_)
        answer = await read_answer(reader)
        assert await reader.read() == b""
    answer.error(400, "BAD_REQUEST")
    assert answer.headers["X-Request-Id"].startswith("req_")


async def test_connect_is_404(rest: RestServer) -> None:
    """The hub is no proxy; a target without a path passes the router by."""
    (await rest.send(b"CONNECT hub:443 HTTP/1.1\r\nHost: hub\r\n\r\n")).error(404, "RESOURCE_NOT_FOUND")


async def test_options_of_the_server_is_404(rest: RestServer) -> None:
    """`OPTIONS *` asks for nothing that the hub has."""
    (await rest.send(b"OPTIONS * HTTP/1.1\r\nHost: hub\r\n\r\n")).error(404, "RESOURCE_NOT_FOUND")


async def test_absolute_target_is_read(rest: RestServer, key: str) -> None:
    """A client may send the whole URL (RFC 9112, section 3.2.2)."""
    assert (await rest.send(head("GET", "http://hub/v2/agents", key))).status == 200


async def test_other_doors_answer_at_their_paths(shared: RestServer) -> None:
    """Wherever they stand in the router; unversioned too."""
    assert (await shared.call("GET", "/")).body == b"page"
    assert (await shared.call("GET", "/moved")).status == 302
    for path in ("/v2/socket", "/socket"):
        (await shared.call("GET", path)).error(400, "BAD_REQUEST")


@pytest.mark.parametrize("path", ["/", "/v2/socket"])
async def test_method_that_another_door_lacks_is_405(shared: RestServer, path: str) -> None:
    """With the methods that it has."""
    answer = await shared.call("POST", path)
    answer.error(405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD"


async def test_failure_of_another_door_is_told_without_detail(
    shared: RestServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """500 or 504, the error object, and the log."""
    answer = await shared.call("GET", "/broken", headers={"X-Request-Id": "abc"})
    answer.error(500, "INTERNAL_ERROR")
    assert b"hunter2" not in answer.body
    assert answer.headers["X-Request-Id"] == "abc"
    assert "abc" in capsys.readouterr().out
    (await shared.call("GET", "/late")).error(504, "TIMEOUT")


async def test_body_that_breaks_after_its_refusal_ends_the_connection(rest: RestServer) -> None:
    """At once: the rest of it is waited for in vain."""
    loop = asyncio.get_running_loop()
    async with rest.connection() as (reader, writer):
        writer.write(b"POST /v2/agents HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        (await read_answer(reader)).error(401, "AUTHENTICATION_REQUIRED")
        began = loop.time()
        writer.write(b"lo\r\nno size\r\n")
        await reader.read()
    assert loop.time() - began < LINGERING_SECONDS


async def test_body_that_goes_on_after_its_refusal_is_read_to_its_end(rest: RestServer) -> None:
    """And the connection serves the next request."""
    async with rest.connection() as (reader, writer):
        writer.write(b"POST /v2/agents HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        (await read_answer(reader)).error(401, "AUTHENTICATION_REQUIRED")
        writer.write(b"lo\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert (await read_answer(reader)).status == 200
