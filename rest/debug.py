"""Debug mode: what a request and its answer were in detail, in headers of the answer and in the log, without secrets.

Asked for by `HUB_DEBUG` for every request, or for one by the header X-Hub-Debug with a token of the caller's organisation that has
`hub:admin`, such as POST /v2/tokens makes for who holds that scope.

Server-Timing     how long the parts took, in milliseconds
X-Debug           JSON in ASCII, at most MOST_HEADER_BYTES; the log has more
"""

import json
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from aiohttp import web

from core.auth.authenticator import Authenticator
from core.auth.caller import ADMIN_SCOPE, Caller
from core.auth.reference import TokenReference
from core.errors import HubError
from core.masking import masked, masked_headers, masked_text
from core.pressure import Calm, Part, Pressed
from core.watch import Watch

HEADER = "X-Hub-Debug"
MOST_HEADER_BYTES = 4096
# Of a body in the log; half of that is what the largest header can hold of both.
MOST_SHOWN = 8192
# A longer body is not parsed for this, but shown as the beginning of its text.
MOST_PARSED = 256 * 1024
# What is left of each text, try by try, until all fits into the header.
_SHORTENED = (1500, 700, 300, 100)


class Debugging:
    """Decides which requests are shown, and shows them, unless there is too much else to do. `always` is HUB_DEBUG."""

    def __init__(self, authenticator: Authenticator, *, always: bool, pressure: Pressed | None = None) -> None:
        self.always = always
        self._authenticator = authenticator
        self._pressure = pressure or Calm()
        self._log = structlog.get_logger()

    async def allow(self, request: web.Request, watch: Watch, caller: Caller, operation: str) -> None:
        """Note who runs what; raises HubError FORBIDDEN where X-Hub-Debug does not speak for an admin of the organisation."""
        watch.kept["operation"] = operation
        watch.kept["caller"] = {
            "subject": caller.subject,
            "org_id": str(caller.org_id),
            "tier": caller.tier,
            "scopes": sorted(caller.scopes),
        }
        given = request.headers.get(HEADER)
        if given is not None:
            await self._check(given, caller)
            watch.kept["allowed"] = True

    def tell(self, request: web.Request, response: web.StreamResponse, watch: Watch, request_id: str) -> None:
        """Put the detail into the answer, where its head is not on its way yet, and into the log."""
        if (not self.always and "allowed" not in watch.kept) or self._pressure.gives_up(Part.DEBUG):
            return
        watch.add("total", watch.began)
        detail = _detail(request, response, watch)
        self._log.info("request_detail", request_id=request_id, **detail)
        if not response.prepared:
            response.headers["Server-Timing"] = ", ".join(
                f"{name};dur={milliseconds}" for name, milliseconds in detail["milliseconds"].items()
            )
            response.headers["X-Debug"] = _header(detail)

    async def _check(self, credential: str, caller: Caller) -> None:
        try:
            admin = await self._authenticator.authenticate(credential.strip(" \t"))
        except HubError as error:
            raise HubError("FORBIDDEN", f"{HEADER}: {error.text}") from error
        if not isinstance(admin.reference, TokenReference):
            raise HubError("FORBIDDEN", f"{HEADER} takes a token, such as POST /v2/tokens makes, and no key")
        if admin.org_id != caller.org_id or not admin.has(ADMIN_SCOPE):
            raise HubError("FORBIDDEN", f"{HEADER} needs a token of this organisation with the scope {ADMIN_SCOPE}")


def _detail(request: web.Request, response: web.StreamResponse, watch: Watch) -> dict[str, Any]:
    is_packed = "Content-Encoding" in response.headers
    body = watch.kept.get("answer") if is_packed else getattr(response, "body", None)
    detail: dict[str, Any] = {
        "method": request.method,
        "path": masked_text(request.path),
        "query": _query(request),
        "status": response.status,
        "milliseconds": {name: round(seconds * 1000, 3) for name, seconds in watch.seconds.items()},
        "request_headers": masked_headers(request.headers.items()),
        "request_body": _shown(watch.kept.get("body")),
        "answer_headers": masked_headers(response.headers.items()),
        "answer_body": _shown(body),
    }
    return {name: watch.kept[name] for name in ("operation", "caller") if name in watch.kept} | detail


def _query(request: web.Request) -> Mapping[str, str]:
    return masked(dict(request.query))


def _shown(body: object) -> str | None:
    """Return JSON, or the bytes of an answer, as text without secrets; None where there is none."""
    if isinstance(body, bytes):
        if len(body) > MOST_PARSED:
            return masked_text(body[: 2 * MOST_SHOWN].decode("utf-8", "replace"))[:MOST_SHOWN]
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError:
            return masked_text(body.decode("utf-8", "replace"))[:MOST_SHOWN] or None
    return None if body is None else orjson.dumps(masked(body)).decode()[:MOST_SHOWN]


def _header(detail: Mapping[str, Any]) -> str:
    """Return the detail as far as it fits."""
    for most in _SHORTENED:
        text = json.dumps(_shortened(detail, most), ensure_ascii=True, separators=(",", ":"))
        if len(text) <= MOST_HEADER_BYTES:
            return text
    few = {name: detail[name] for name in ("operation", "status", "milliseconds") if name in detail}
    return json.dumps({**few, "truncated": True}, separators=(",", ":"))


def _shortened(value: Any, most: int) -> Any:
    if isinstance(value, dict):
        return {str(name)[:most]: _shortened(each, most) for name, each in value.items()}
    if isinstance(value, str) and len(value) > most:
        return f"{value[:most]}..."
    return value
