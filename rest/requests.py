"""What a request says: its id, its credential, its query, its body. Values are handed on as they are; the operation judges them.

request_id     X-Request-Id, or a new one
credential     Authorization: Bearer ...
query          the query's names and values
body           JSON object, at most MAX_BODY_BYTES, read within BODY_SECONDS
patch          the same, of a JSON Patch: an array
"""

import asyncio
import itertools
import re
import secrets
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import StreamReader, web

from core import strict_json
from core.clock import Clock
from core.errors import Detail, HubError
from core.watch import WATCHED

MAX_BODY_BYTES = 1024 * 1024
# A megabyte may hold 350,000 empty arrays, which keep the loop from everybody for half a second.
MOST_VALUES = 100_000
MOST_PARAMETERS = 100
# From the head of a request to the last byte of its body; a client that trickles holds no handler longer.
BODY_SECONDS = 30.0
MEDIA_TYPES = frozenset({"application/json", "application/merge-patch+json", "application/vnd.api+json"})
JSON_PATCH = "application/json-patch+json"
CONTENT_CODINGS = frozenset({"identity", "gzip", "deflate"})

_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestIds:
    """Names requests: the client's own name where it is well formed, else `req_` with what no other request has."""

    def __init__(self) -> None:
        self._prefix = f"req_{secrets.token_hex(8)}"
        self._numbers: Iterator[int] = itertools.count(1)

    def of(self, request: web.BaseRequest) -> str:
        """Return the id of `request`; a new one with each call where the client gave none."""
        given = request.headers.get("X-Request-Id")
        if given is not None and _CLIENT_REQUEST_ID.fullmatch(given):
            return given
        return self.new()

    def new(self) -> str:
        """Return an id that no other request has."""
        return f"{self._prefix}{next(self._numbers):08x}"


def query_of(request: web.BaseRequest, known: frozenset[str]) -> dict[str, str]:
    """Return the query of `request`, as query_in says."""
    return query_in(request.rel_url.raw_query_string, known)


def query_in(raw: str, known: frozenset[str]) -> dict[str, str]:
    """Return a query by name; what is known as `filter[` has names that begin with it.

    Raises UNKNOWN_PARAMETER for a name not in `known`, BAD_REQUEST for one that is there twice, for too many, and for what cannot
    be read.
    """
    if not raw:
        return {}
    query: dict[str, str] = {}
    for name, value in _pairs(raw):
        if name not in known and name[: name.find("[") + 1] not in known:
            raise _unknown(name, known)
        if name in query:
            raise HubError("BAD_REQUEST", f"The query has '{name}' more than once")
        query[name] = value
    return query


def _unknown(name: str, known: frozenset[str]) -> HubError:
    named = ", ".join(sorted(f"{each}...]" if each.endswith("[") else each for each in known)) or "none"
    message = f"Unknown query parameter '{name[:64]}'; known here: {named}"
    return HubError("UNKNOWN_PARAMETER", message, details=[Detail(name[:64], "UNKNOWN_PARAMETER", message)])


def _pairs(raw: str) -> list[tuple[str, str]]:
    if raw.count("&") >= MOST_PARAMETERS:
        raise HubError("BAD_REQUEST", f"The query has over {MOST_PARAMETERS} parameters")
    try:
        # A byte that is no UTF-8 comes as a lone surrogate, percent-encoded or not; neither has a meaning.
        raw.encode()
        return parse_qsl(raw, keep_blank_values=True, errors="strict")
    except UnicodeError as error:
        raise HubError("BAD_REQUEST", "The query is not UTF-8 in percent-encoding") from error


async def body_of(
    request: web.Request, clock: Clock, most: int = MAX_BODY_BYTES, *, is_shown: bool = True
) -> dict[str, Any]:
    """Return the body's JSON object, of at most so many bytes; `is_shown` tells whether debug mode may show it.

    Raises UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE (with at most `most` and one buffer read; or for over MOST_VALUES
    values), TIMEOUT after BODY_SECONDS, BAD_REQUEST for what is no JSON, and VALIDATION_ERROR for JSON that is no object.
    """
    _check_media(request, MEDIA_TYPES)
    body = object_of(_value_of(await _text_of(request, clock, most)))
    if is_shown:
        _show(body)
    return body


async def patch_of(request: web.Request, clock: Clock) -> list[Any]:
    """Return the body's JSON Patch, as far as it is an array; raises as `body_of`."""
    _check_media(request, frozenset({JSON_PATCH}))
    patch = array_of(_value_of(await _text_of(request, clock, MAX_BODY_BYTES)))
    _show(patch)
    return patch


def is_patch(content_type: str | None) -> bool:
    """Tell whether a body of this type is a JSON Patch."""
    return content_type is not None and content_type.partition(";")[0].strip().lower() == JSON_PATCH


def object_of(value: object) -> dict[str, Any]:
    """Return a JSON object; raises HubError VALIDATION_ERROR for what is none."""
    if not isinstance(value, dict):
        raise HubError("VALIDATION_ERROR", details=[Detail("body", "INVALID_FORMAT", "Must be a JSON object")])
    return value  # pyright: ignore[reportUnknownVariableType] - JSON's objects have string keys


def array_of(value: object) -> list[Any]:
    """Return a JSON array; raises HubError VALIDATION_ERROR for what is none."""
    if not isinstance(value, list):
        message = "A JSON Patch is an array of operations"
        raise HubError("VALIDATION_ERROR", details=[Detail("body", "INVALID_FORMAT", message)])
    return value  # pyright: ignore[reportUnknownVariableType] - of what JSON has


def _show(body: Any) -> None:
    watch = WATCHED.get()
    if watch is not None:
        watch.kept["body"] = body


async def _text_of(request: web.Request, clock: Clock, most: int) -> bytes:
    if (request.content_length or 0) > most:
        raise _too_large(most)
    payload = request.content
    # A body that came with the head, as most do, is taken without waiting: no timer, no task.
    packed = await _collect(payload, most) if payload.is_eof() else await _collect_in_time(request, clock, most)
    return _unpacked(packed, request.headers.get("Content-Encoding"), most)


def _check_media(request: web.BaseRequest, known: frozenset[str]) -> None:
    content_type = request.headers.get("Content-Type")
    if content_type is not None and content_type not in known:
        media, _, parameters = content_type.partition(";")
        charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", parameters, re.IGNORECASE)
        if media.strip().lower() not in known or (charset and charset[1].lower() not in {"utf-8", "utf8"}):
            raise HubError("UNSUPPORTED_MEDIA_TYPE", "Send application/json or application/vnd.api+json, in UTF-8")
    coding = request.headers.get("Content-Encoding")
    if coding is not None and coding.strip().lower() not in CONTENT_CODINGS:
        # RFC 9110, section 15.5.16: the answer names the codings that would have been taken.
        raise HubError(
            "UNSUPPORTED_MEDIA_TYPE",
            "The body has an unknown content coding",
            headers={"Accept-Encoding": "gzip, deflate"},
        )


async def _collect_in_time(request: web.Request, clock: Clock, most: int) -> bytes:
    reading = asyncio.ensure_future(_collect_wanted(request, most))
    alarm = asyncio.ensure_future(clock.sleep(BODY_SECONDS))
    try:
        await asyncio.wait({reading, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise HubError("TIMEOUT", f"The body was not there within {BODY_SECONDS:.0f} seconds")
        return reading.result()
    finally:
        reading.cancel()
        alarm.cancel()


async def _collect_wanted(request: web.Request, most: int) -> bytes:
    await continued(request)
    return await _collect(request.content, most)


async def continued(request: web.Request) -> None:
    """Ask for the body where the client waits to be asked."""
    if "Expect" in request.headers:
        # RFC 9110, section 10.1.1: asked for only now, so that a request refused by its head is not sent at all.
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # aiohttp: nothing of the answer is sent yet


async def _collect(payload: StreamReader, most: int) -> bytes:
    """Read to the end, as it was sent."""
    body = bytearray()
    try:
        while chunk := await payload.readany():
            body += chunk
            if len(body) > most:
                raise _too_large(most)
    except (web.RequestPayloadError, ConnectionError) as error:
        raise broken() from error
    return bytes(body)


def _unpacked(body: bytes, coding: str | None, most: int) -> bytes:
    """Undo the content coding, here and not in aiohttp: it would unpack, at a thousand times their size, also bodies that nobody
    reads, such as of requests without a credential.

    gzip is one member, and deflate is with or without zlib's head (RFC 9110, section 8.4.1.2, note).
    """
    name = "identity" if coding is None else coding.strip().lower()
    if name == "identity":
        return body
    has_zlib_head = bool(body) and body[0] & 0x0F == zlib.DEFLATED
    unpacking = zlib.decompressobj(31 if name == "gzip" else 15 if has_zlib_head else -15)
    try:
        text = unpacking.decompress(body, most + 1)
    except zlib.error as error:
        raise broken() from error
    if len(text) > most:
        raise _too_large(most)
    if not unpacking.eof or unpacking.unused_data:
        raise broken()
    return text


def broken(message: str = "The body ends early, or its transfer or content coding is broken") -> HubError:
    """Return the refusal of a body that cannot be read."""
    return HubError("BAD_REQUEST", message)


def _too_large(most: int) -> HubError:
    return HubError("PAYLOAD_TOO_LARGE", f"The body is over {most} bytes")


def most_values(text: bytes) -> int:
    """Return how many JSON values there may be at most: each follows a comma, or opens an array or object, or is the first."""
    return text.count(b",") + text.count(b"[") + text.count(b"{") + 1


def _without_strings(text: bytes) -> bytes:
    """Leave out what is between quotes."""
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(plain.split(b'"')[::2])


def _value_of(text: bytes) -> Any:
    if not text:
        raise HubError("BAD_REQUEST", "The body is empty; send a JSON object")
    # What is in strings looks like values too: they are left out where it matters, which it seldom does.
    if most_values(text) > MOST_VALUES and most_values(_without_strings(text)) > MOST_VALUES:
        raise HubError("PAYLOAD_TOO_LARGE", f"The body has over {MOST_VALUES} values")
    try:
        return strict_json.loads(text)
    except orjson.JSONDecodeError as error:
        # orjson refuses NaN, Infinity, lone surrogates, NUL bytes and nesting over 1024 as syntax.
        place = f"line {error.lineno}, column {error.colno}"
        raise HubError("BAD_REQUEST", f"The body is not valid JSON: {error.msg}: {place}") from error
