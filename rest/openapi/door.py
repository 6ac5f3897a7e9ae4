"""`GET /openapi.json`: the document as OpenAPI 3.1, or with `?version=3.0` as 3.0. Made once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from core.content.text import Text
from core.errors import Detail, HubError
from core.operations.operation import Registry
from rest.endpoints import Parts
from rest.openapi.document import document
from rest.openapi.older import as_3_0
from rest.published import Published
from rest.requests import query_of
from rest.routes import Version

PATH = "/openapi.json"
_QUERY = frozenset({"version"})


def documents(registry: Registry, versions: Sequence[Version]) -> dict[str, dict[str, Any]]:
    """Return the documents by the version of OpenAPI."""
    newest = document(registry, versions)
    return {"3.1": newest, "3.0": as_3_0(newest)}


class OpenApi(Published):
    """Both documents; they say nothing of anybody."""

    def __init__(self, parts: Parts, registry: Registry, versions: Sequence[Version]) -> None:
        super().__init__(parts)
        self._registry = registry
        self._versions = versions
        self._texts: Mapping[str, Text] = {}
        self._making = asyncio.Lock()

    async def choose(self, request: web.Request) -> Text:
        """Return the document that the query names."""
        wanted = query_of(request, _QUERY).get("version", "3.1")
        texts = await self._made()
        found = texts.get(wanted)
        if found is None:
            message = f"There are {' and '.join(texts)}"
            raise HubError("VALIDATION_ERROR", details=[Detail("version", "INVALID_FORMAT", message)])
        return found

    async def _made(self) -> Mapping[str, Text]:
        """Return the texts; they are made when first asked for, once, in a thread: a third of a second."""
        if not self._texts:
            async with self._making:
                self._texts = self._texts or await asyncio.to_thread(self._make)
        return self._texts

    def _make(self) -> Mapping[str, Text]:
        made = documents(self._registry, self._versions)
        return {name: Text(orjson.dumps(each), "application/json") for name, each in made.items()}
