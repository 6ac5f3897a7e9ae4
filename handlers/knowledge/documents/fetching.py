"""Documents by URL: fetched under the rules of every call out, redirects too."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urljoin

import orjson

from core.errors import Detail, HubError
from core.outbound import Outbound, OutboundError, OutboundRefused, OutboundResponse
from handlers.knowledge.documents.models import MOST_BYTES, is_media_type

SECONDS = 30.0
_CHECK_SECONDS = 5.0
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_VALIDATOR = 1000
# What a server gave with a content, and what asks it whether that is still so (RFC 9110, section 13.1).
_CONDITIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


class NotFetched(Exception):
    """A URL gave no document; the message tells why, and is shown to the organisation."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL gave; `content_type` is empty where the answer has none. `validators` (JSON) ask whether it has changed."""

    data: bytes
    content_type: str
    validators: str
    hash: bytes


class Fetcher:
    """Fetches documents. No transaction is open meanwhile."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def check(self, url: str, field: str = "url") -> None:
        """Raise HubError VALIDATION_ERROR for a URL that may not be called; one that does not answer now may do so later."""
        try:
            await self._outbound.check(url, timeout=_CHECK_SECONDS)
        except OutboundRefused as error:
            raise HubError("VALIDATION_ERROR", details=[Detail(field, "INVALID_FORMAT", str(error))]) from error
        except OutboundError:
            return

    async def fetch(self, url: str, validators: str | None = None) -> Fetched | None:
        """Return what is at `url`, None where that is what `validators` are of; every redirect is judged as the URL itself.

        Raises NotFetched.
        """
        conditions = {} if validators is None else orjson.loads(validators)
        try:
            answer = await self._followed(url, conditions)
        except OutboundError as error:
            raise NotFetched(str(error)) from error
        if answer.status == 304 and conditions:
            return None
        if answer.status != 200:
            raise NotFetched(f"It answered {answer.status}")
        content_type = answer.headers.get("Content-Type", "").strip()
        kept = {
            asks: answer.headers[name]
            for name, asks in _CONDITIONS.items()
            if 0 < len(answer.headers.get(name, "")) <= _LONGEST_VALIDATOR
        }
        return Fetched(
            answer.body,
            content_type if is_media_type(content_type) else "",
            orjson.dumps(kept).decode(),
            sha256(answer.body).digest(),
        )

    async def _followed(self, url: str, conditions: Mapping[str, str]) -> OutboundResponse:
        for _ in range(_MOST_REDIRECTS + 1):
            answer = await self._outbound.request("GET", url, headers=conditions, timeout=SECONDS, max_bytes=MOST_BYTES)
            if answer.status not in _REDIRECTS:
                return answer
            url = urljoin(url, answer.headers.get("Location", ""))
        raise NotFetched(f"It redirects over {_MOST_REDIRECTS} times")
