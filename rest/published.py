"""Texts that are the same for everybody and change only with the release: made once, sent with an ETag, kept by who likes to.

They need no credential, and tools on pages of any origin may read them.
"""

from aiohttp import web

from core.content.text import Text
from core.errors import HubError
from rest.endpoints import Endpoint


class Published(Endpoint):
    """Answers GET and HEAD with a Text; subclasses choose which by `choose`, and may raise."""

    async def choose(self, request: web.Request) -> Text:
        """Return the text that `request` asks for."""
        raise NotImplementedError

    async def respond(self, request: web.Request, request_id: str, headers: dict[str, str]) -> web.StreamResponse:
        """Answer with the text, or 304 where the client has it."""
        if request.method not in ("GET", "HEAD"):
            raise HubError("METHOD_NOT_ALLOWED", headers={"Allow": "GET, HEAD"})
        status, said, body = await (await self.choose(request)).answer(request.headers)
        return web.Response(status=status, body=body, headers={**headers, "Access-Control-Allow-Origin": "*", **said})
