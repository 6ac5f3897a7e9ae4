"""`GET /.well-known/jwks.json`: the public keys of the tokens that the hub signs (RFC 7517), for whoever verifies them."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from core.errors import HubError

PATH = "/.well-known/jwks.json"
# A rotation shows in every copy this soon, and whoever meets an unknown key asks again anyway.
KEPT_SECONDS = 300


class KeySetDoor:
    """Answers the key set; `render` turns a refusal into an answer."""

    def __init__(
        self, key_set: Callable[[], Awaitable[bytes]], render: Callable[[web.Request, HubError], web.Response]
    ) -> None:
        self._key_set = key_set
        self._render = render

    def add_to(self, app: web.Application) -> None:
        """Add the path."""
        app.router.add_get(PATH, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            body = await self._key_set()
        except HubError as refused:
            return self._render(request, refused)
        # Public, and pages of any origin may read it.
        headers = {"Cache-Control": f"public, max-age={KEPT_SECONDS}", "Access-Control-Allow-Origin": "*"}
        return web.Response(body=body, content_type="application/jwk-set+json", headers=headers)
