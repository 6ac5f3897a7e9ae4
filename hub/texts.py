"""Texts of the release as aiohttp sends them."""

from aiohttp import web

from core.content.text import Text


async def answered(request: web.Request, text: Text) -> web.Response:
    """Return the answer to a GET or HEAD of `text`: whole, in a coding that the client takes, or 304."""
    status, headers, body = await text.answer(request.headers)
    return web.Response(status=status, headers=headers, body=body)
