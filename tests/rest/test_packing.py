"""Content codings over the wire: which is chosen, and that its bytes are what was asked for."""

import gzip
import sys
from typing import Any

import aiohttp
import pytest

from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import RestServer

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SHORT = {"name": "A"}
LONG = {"name": "A", "metadata": {"text": "lorem ipsum " * 200}}
# One that leaves the loop while it is packed.
HUGE = {"name": "A", "metadata": {f"{number}": "x" * 1000 for number in range(200)}}
UNPACK = {"gzip": gzip.decompress, "zstd": zstd.decompress, None: bytes}


async def _raw(rest: RestServer, method: str, path: str, key: str | None, taken: str | None) -> tuple[Any, bytes]:
    """Ask, and return headers and bytes as they were sent."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if taken is not None:
        headers["Accept-Encoding"] = taken
    async with (
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=("Accept-Encoding",)) as session,
        session.request(method, f"http://127.0.0.1:{rest.port}{path}", headers=headers) as answer,
    ):
        return answer.headers, await answer.read()


async def _made(rest: RestServer, key: str, body: Any) -> str:
    return (await rest.call("POST", "/v2/agents", key, body=body)).headers["Location"]


@pytest.mark.parametrize(
    ("taken", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("br, deflate", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP ; Q=0.2", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0", None),
        ("zstd;q=0, *", "gzip"),
        ("*;q=0.1", "zstd"),
        ("gzip;q=2, zstd;q=x", None),
        ("identity;q=0, gzip", "gzip"),
    ],
)
async def test_coding_is_the_one_that_is_liked_best(
    rest: RestServer, key: str, taken: str | None, coding: str | None
) -> None:
    """By weight, zstd before gzip where both weigh the same; the tag is the coding's own."""
    one = await _made(rest, key, LONG)
    _, plain = await _raw(rest, "GET", one, key, None)
    headers, body = await _raw(rest, "GET", one, key, taken)
    assert headers.get("Content-Encoding") == coding
    assert UNPACK[coding](body) == plain
    assert headers["ETag"] == (f'"1.{coding}"' if coding else '"1"')
    assert "Accept-Encoding" in headers["Vary"]
    assert (len(body) < len(plain) / 2) == (coding is not None)


@pytest.mark.parametrize("body", [SHORT, HUGE], ids=["short", "huge"])
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_short_bodies_stay_as_they_are(rest: RestServer, key: str, body: Any, coding: str) -> None:
    """Under 1 KiB, unless identity is ruled out; long ones are packed whole."""
    one = await _made(rest, key, body)
    headers, sent = await _raw(rest, "GET", one, key, coding)
    assert headers.get("Content-Encoding") == (None if body is SHORT else coding)
    only, forced = await _raw(rest, "GET", one, key, f"{coding}, identity;q=0")
    assert only["Content-Encoding"] == coding
    assert UNPACK[coding](forced) == UNPACK[headers.get("Content-Encoding")](sent)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_that_there_is_taken_is_406(rest: RestServer, key: str, method: str) -> None:
    """And nothing is done (RFC 9110, section 12.5.3)."""
    for taken in ("identity;q=0", "*;q=0", "br, identity;q=0"):
        body = SHORT if method == "POST" else None
        answer = await rest.call(method, "/v2/agents", key, body=body, headers={"Accept-Encoding": taken})
        answer.error(406, "NOT_ACCEPTABLE")
    assert (await rest.call("GET", "/v2/agents", key)).json()["pagination"]["total"] == 0


async def test_secrets_are_never_packed(rest: RestServer, key: str) -> None:
    """How well they pack would tell of them."""
    body = {"name": "CI", "scopes": ["read:agents"]}
    answer = await rest.call("POST", "/v2/keys", key, body=body, headers={"Accept-Encoding": "gzip, identity;q=0"})
    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("path", ["/openapi.json", "/errors", "/versions"])
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_texts_of_the_release_are_packed(rest: RestServer, path: str, coding: str) -> None:
    """With a tag of their own, by which they are kept."""
    _, plain = await _raw(rest, "GET", path, None, None)
    headers, body = await _raw(rest, "GET", path, None, f"{coding}, identity;q=0")
    assert UNPACK[coding](body) == plain
    again = await rest.call("GET", path, headers={"If-None-Match": headers["ETag"], "Accept-Encoding": coding})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", headers["ETag"])
    assert "Accept-Encoding" in headers["Vary"]
