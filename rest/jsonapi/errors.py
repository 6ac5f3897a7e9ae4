"""Refusals as JSON:API's `errors`: one object for each detail, or one for all (JSON:API, "Error Objects")."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from core.errors import CATALOGUE, Detail, HubError

JSONAPI = "application/vnd.api+json"
VERSION: Mapping[str, str] = {"version": "1.1"}
# Those that a request has beside its body and its query, and that can be wrong.
_HEADERS = frozenset({"X-Request-Timeout", "Idempotency-Key", "If-Match"})


def in_header(detail: Detail) -> dict[str, str] | None:
    """Return the source of what is wrong with a header, None for anything else."""
    return {"header": detail.field} if detail.field in _HEADERS else None


class JsonApiErrors:
    """Refusals where no route is known: what has a name there is a parameter, unless it is a JSON Pointer."""

    media_type = JSONAPI

    def source(self, detail: Detail) -> dict[str, str]:
        """Return where in the request a detail belongs."""
        place = "pointer" if detail.field.startswith("/") else "parameter"
        return in_header(detail) or {place: detail.field}

    def error(self, error: HubError, request_id: str, now: datetime) -> bytes:
        """Write a refusal, with where in the request each error belongs."""
        said = error.as_object(request_id=request_id, now=now)
        errors = [self._of_detail(error, detail) for detail in error.details] or [_of_all(error)]
        meta = {name: said[name] for name in ("code", "message", "request_id", "timestamp")}
        return orjson.dumps({"jsonapi": VERSION, "errors": errors, "meta": meta})

    def _of_detail(self, error: HubError, detail: Detail) -> dict[str, Any]:
        kind = _kind(error, detail.code)
        return {**kind, "detail": detail.message, "source": self.source(detail), "meta": {"field": detail.field}}


def _of_all(error: HubError) -> dict[str, Any]:
    return {**_kind(error, error.code), "detail": error.text}


def _kind(error: HubError, code: str) -> dict[str, Any]:
    return {
        "status": str(error.status),
        "code": code,
        "title": CATALOGUE[code].message,
        "links": {"type": f"/errors#{code}"},
    }
