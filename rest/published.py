"""Texts that are the same for everybody and change only with the release: made once, sent with an ETag, kept by who likes to.

They need no credential, and tools on pages of any origin may read them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from aiohttp import web

from core.errors import HubError
from rest.endpoints import Endpoint

# Asked again each time, which a 304 makes cheap: an hour after a release nobody should read what was before.
CACHE = "public, no-cache"


@dataclass(frozen=True, slots=True)
class Text:
    """A text with its media type; `headers` are its own."""

    body: bytes
    media_type: str
    headers: Sequence[tuple[str, str]] = ()
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{sha256(self.body).hexdigest()[:20]}"')


class Published(Endpoint):
    """Answers GET and HEAD with a Text; subclasses choose which by `choose`, and may raise."""

    def choose(self, request: web.Request) -> Text:
        """Return the text that `request` asks for."""
        raise NotImplementedError

    async def respond(self, request: web.Request, request_id: str, headers: dict[str, str]) -> web.StreamResponse:
        """Answer with the text, or 304 where the client has it."""
        if request.method not in ("GET", "HEAD"):
            raise HubError("METHOD_NOT_ALLOWED", headers={"Allow": "GET, HEAD"})
        text = self.choose(request)
        headers |= {"ETag": text.etag, "Cache-Control": CACHE, "Access-Control-Allow-Origin": "*", **dict(text.headers)}
        named = request.headers.get("If-None-Match")
        if named is not None and (named.strip() == "*" or text.etag in named):
            return web.Response(status=304, headers=headers)
        return web.Response(body=text.body, headers={**headers, "Content-Type": text.media_type})
