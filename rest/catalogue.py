"""`GET /errors`: every code with its status, meaning and cure; for a browser as a page with an anchor for each."""

from html import escape

import orjson
from aiohttp import web

from core.content.text import Text
from core.errors import CATALOGUE, ErrorKind
from rest.endpoints import Parts
from rest.published import Published
from rest.requests import query_of

PATH = "/errors"
_VARY = {"Vary": "Accept"}
# The page is its own text and nothing else.
_SEALED = {"Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}


class Errors(Published):
    """The catalogue, which has no secrets."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        listed = {"data": [kind.as_object() for kind in CATALOGUE.values()]}
        self._json = Text(orjson.dumps(listed), "application/json", _VARY)
        self._page = Text(_page().encode(), "text/html; charset=utf-8", _VARY | _SEALED)

    async def choose(self, request: web.Request) -> Text:
        """Return the page to who names HTML, as browsers do, else JSON."""
        query_of(request, frozenset())
        return self._page if "text/html" in request.headers.get("Accept", "").lower() else self._json


def _page() -> str:
    rows = "\n".join(_row(kind) for kind in CATALOGUE.values())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>AIMatrix Hub: errors</title></head>\n'
        "<body><h1>Errors</h1>\n<table>\n<thead><tr><th>Code<th>Status<th>Meaning<th>What to do<th>Where it stands</thead>\n"
        f"<tbody>\n{rows}\n</tbody></table></body></html>\n"
    )


def _row(kind: ErrorKind) -> str:
    cells = (kind.status, kind.message, kind.cure, kind.place)
    return f'<tr id="{kind.code}"><th>{kind.code}{"".join(f"<td>{escape(str(cell))}" for cell in cells)}'
