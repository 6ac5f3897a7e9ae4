"""What twins' data is fetched from. A source gives JSON; what becomes of it is the same for all.

NotFetched    it gave none; code and message are shown to the organisation
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urljoin

import orjson
from jsonpointer import EndOfList, JsonPointer, JsonPointerException

from core import strict_json
from core.errors import HubError
from core.outbound import Outbound, OutboundError, OutboundResponse
from handlers.resources.merge import merge_patch
from handlers.twins.sync.models import HttpSource

SECONDS = 30.0
# As much as a request may have.
MOST_BYTES = 1024 * 1024
MOST_VALUES = 100_000
_MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_VALIDATOR = 1000
# What a server gave with a content, and what asks it whether that is still so (RFC 9110, section 13.1).
_CONDITIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


class NotFetched(Exception):
    """A source gave no JSON."""

    def __init__(self, message: str, code: str = "NOT_FETCHED") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a source gave; `validators` (JSON) ask it whether that has changed, None where they cannot."""

    value: Any
    validators: str | None


class Source(Protocol):
    """One kind of sources; `settings` are what a twin says of its own."""

    async def fetch(self, settings: Mapping[str, Any], validators: str | None) -> Fetched | None:
        """Return what the source has, None where that is what `validators` are of; raises NotFetched. No transaction is open."""
        ...


class HttpSources:
    """JSON over HTTP, under the rules of every call out; redirects are judged as the URL itself."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def fetch(self, settings: Mapping[str, Any], validators: str | None) -> Fetched | None:
        """Return the JSON at the URL, as Source says."""
        source = HttpSource.model_validate(settings)
        conditions: dict[str, str] = {} if validators is None else orjson.loads(validators)
        try:
            answer = await self._followed(source.url, {"Accept": "application/json", **conditions})
        except OutboundError as error:
            raise NotFetched(str(error)) from error
        if answer.status == 304 and conditions:
            return None
        if answer.status != 200:
            raise NotFetched(f"It answered {answer.status}")
        return Fetched(json_of(answer.body), _validators_of(answer))

    async def _followed(self, url: str, headers: Mapping[str, str]) -> OutboundResponse:
        for _ in range(_MOST_REDIRECTS + 1):
            answer = await self._outbound.request("GET", url, headers=headers, timeout=SECONDS, max_bytes=MOST_BYTES)
            if answer.status not in _REDIRECTS:
                return answer
            url = urljoin(url, answer.headers.get("Location", ""))
        raise NotFetched(f"It redirects over {_MOST_REDIRECTS} times")


def json_of(body: bytes) -> Any:
    """Return the JSON of an answer; raises NotFetched for what is none, or holds too much."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MOST_VALUES:
        raise NotFetched(f"It has over {MOST_VALUES} values")
    try:
        return strict_json.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotFetched(f"It is no JSON: {error.msg}") from error
    except HubError as error:
        raise NotFetched(error.details[0].message if error.details else error.text) from error


def _validators_of(answer: OutboundResponse) -> str | None:
    kept = {
        asks: answer.headers[name]
        for name, asks in _CONDITIONS.items()
        if 0 < len(answer.headers.get(name, "")) <= _LONGEST_VALIDATOR
    }
    return orjson.dumps(kept).decode() if kept else None


def shown_by(settings: Mapping[str, Any], before: Any, value: Any) -> Any:
    """Return what becomes of a twin's data by what its source has; raises NotFetched where the pointer shows nothing."""
    source = HttpSource.model_validate(settings)
    try:
        found = JsonPointer(source.pointer).resolve(value)
    except JsonPointerException as error:
        raise NotFetched(f"There is nothing at {source.pointer}") from error
    if isinstance(found, EndOfList):
        raise NotFetched(f"There is nothing at {source.pointer}")
    return merge_patch(before, found) if source.mode == "merge" else found
