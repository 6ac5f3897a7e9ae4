"""The migration guide, where the answers of a deprecated version point to."""

from pathlib import Path

from aiohttp import web

NAME = "migration-v1-v2.md"
KEPT_SECONDS = 3600


class GuideDoor:
    """`GET /docs/migration-v1-v2.md`, as text; read once, from the folder of documents, which a release may leave out."""

    def __init__(self, folder: Path) -> None:
        file = folder / NAME
        self._text = file.read_bytes() if file.is_file() else None

    def add_to(self, app: web.Application) -> None:
        """Add the path, where there is something to show."""
        if self._text is not None:
            app.router.add_get(f"/docs/{NAME}", self._answer)

    async def _answer(self, _request: web.Request) -> web.Response:
        headers = {"Cache-Control": f"public, max-age={KEPT_SECONDS}", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=self._text, content_type="text/markdown", charset="utf-8", headers=headers)
