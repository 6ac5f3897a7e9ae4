"""The forms that answers are written in. PLAIN is what a client gets that asks for nothing else; PROBLEMS is for refusals alone.

JSON:API is in rest/jsonapi/, and which form it is, in rest/negotiation.py.
"""

from collections.abc import Mapping
from datetime import datetime

import orjson

from core.errors import HubError
from core.operations.results import Document, Page
from rest.asked import Asked, Paging

JSON = "application/json"
PROBLEM = "application/problem+json"
_PAGING = Paging(
    frozenset({"page", "per_page", "after", "before", "limit"}), "page", "per_page", "after", "before", "limit"
)


class Plain:
    """Stored documents as they are; no document is parsed or built."""

    media_type = JSON
    variant = ""
    paging = _PAGING

    def document(self, document: Document, asked: Asked) -> bytes:
        """Write the document itself."""
        return document.body.encode()

    def page(self, page: Page, asked: Asked, links: Mapping[str, str]) -> bytes:
        """Write `{"data": [...], "pagination": {...}, "links": {...}}`.

        `"incomplete": true` stands beside them where a part could not be asked.
        """
        incomplete = b"" if page.is_whole else b',"incomplete":true'
        data, said = ",".join(page.items).encode(), orjson.dumps(page.pagination())
        return b'{"data":[%b],"pagination":%b,"links":%b%b}' % (data, said, orjson.dumps(links), incomplete)

    def text(self, body: str, asked: Asked) -> bytes:
        """Write the text as it is."""
        return body.encode()

    def error(self, error: HubError, request_id: str, now: datetime) -> bytes:
        """Write `{"error": {...}}`."""
        return orjson.dumps({"error": error.as_object(request_id=request_id, now=now)})


class Problems:
    """Refusals as problem details (RFC 9457), with what the plain error has beside them."""

    media_type = PROBLEM

    def error(self, error: HubError, request_id: str, now: datetime) -> bytes:
        """Write the members of section 3.1, and `code`, `details`, `request_id` and `timestamp` as extensions (section 3.2).

        `type` leads to the code's entry of `GET /errors`.
        """
        said = error.as_object(request_id=request_id, now=now)
        kind = {"type": f"/errors#{error.code}", "title": error.kind.message, "status": error.status}
        return orjson.dumps({**kind, "detail": said.pop("message"), **said})


PLAIN = Plain()
PROBLEMS = Problems()
