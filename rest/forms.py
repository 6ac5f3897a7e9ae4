"""The forms that answers are written in. PLAIN is what a client gets that asks for nothing else."""

from collections.abc import Mapping
from datetime import datetime

import orjson

from core.errors import HubError
from core.operations.results import Document, Page
from rest.asked import Asked

JSON = "application/json"


class Plain:
    """Stored documents as they are; no document is parsed or built."""

    media_type = JSON
    variant = ""

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


PLAIN = Plain()
