"""The migration guide, where the answers of a deprecated version point to."""

from pathlib import Path

from aiohttp import web

from core.content.text import Text
from hub.texts import answered

NAME = "migration-v1-v2.md"
KEPT_SECONDS = 3600


class GuideDoor:
    """`GET /docs/migration-v1-v2.md`, as text; read once, from the folder of documents, which a release may leave out."""

    def __init__(self, folder: Path) -> None:
        file = folder / NAME
        cache, safe = f"public, max-age={KEPT_SECONDS}", {"X-Content-Type-Options": "nosniff"}
        kind = "text/markdown; charset=utf-8"
        self._text = Text(file.read_bytes(), kind, safe, cache=cache) if file.is_file() else None

    def add_to(self, app: web.Application) -> None:
        """Add the path, where there is something to show."""
        if self._text is None:
            return
        text = self._text

        async def answer(request: web.Request) -> web.Response:
            return await answered(request, text)

        app.router.add_get(f"/docs/{NAME}", answer)
