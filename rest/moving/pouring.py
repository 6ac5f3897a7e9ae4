"""A long answer, sent while it is made: no faster than its client reads, and no longer than it is there."""

import re
from collections.abc import AsyncGenerator, Mapping
from urllib.parse import quote

import structlog
from aiohttp import web

from core.operations.results import Poured

_IN_HEADER = re.compile(r"[\x20-\x7e]+")
_UNSAFE = re.compile(r'[^\x20-\x7e]|["\\%/]')


def attachment(name: str) -> str:
    """Return a Content-Disposition by which nothing is shown, only kept, under any name (RFC 6266; RFC 8187, section 3.2)."""
    plain = _UNSAFE.sub("_", name)
    encoded = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    return f'attachment; filename="{plain}"{encoded}'


async def pour(request: web.Request, poured: Poured, headers: Mapping[str, str]) -> web.StreamResponse:
    """Send `poured`. What goes wrong before its first part is raised; after it the connection is cut, so that nobody takes a
    part for the whole.
    """
    said = {
        **headers,
        "Content-Type": poured.media_type if _IN_HEADER.fullmatch(poured.media_type) else "application/octet-stream",
        "Content-Disposition": attachment(poured.name),
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",  # nginx would read it all ahead of a slow client
    }
    try:
        first = await anext(poured.parts, b"")
        response = web.StreamResponse(headers=said)
        await response.prepare(request)
        if request.method != "HEAD":
            await _send(request, response, first, poured.parts)
        return response
    finally:
        await poured.parts.aclose()


async def _send(request: web.Request, response: web.StreamResponse, first: bytes, rest: AsyncGenerator[bytes]) -> None:
    try:
        await response.write(first)  # which waits while the client is slow
        async for part in rest:
            await response.write(part)
        await response.write_eof()
    except ConnectionError:
        pass  # the client left
    except Exception as error:  # noqa: BLE001 - the boundary: a status has been sent, no other can follow
        structlog.get_logger().warning(
            "answer_cut_off", path=request.path, error=type(error).__name__, detail=str(error)
        )
        if request.transport is not None:
            request.transport.abort()
