"""What no schema can say: a short time makes a 504, a key is for one request, and an integer has 64 bits wherever it stands.

Nor does who tries wait for events that do not come, or for long simulations.
"""

import os
import secrets
from typing import Any

import schemathesis

from core.errors import HubError
from core.strict_json import LARGEST, SMALLEST
from handlers.subscriptions.models import LONGEST_WAIT_SECONDS
from rest.patience import patience_of
from tests.rest.tried import MEDIA


@schemathesis.hook
def before_load_schema(_context: Any, raw_schema: dict[str, Any]) -> None:
    """Leave of each body the media type that is tried."""
    media = os.environ.get(MEDIA)
    if media is None:
        return
    own = [
        operation.get("requestBody", {}) for methods in raw_schema["paths"].values() for operation in methods.values()
    ]
    for body in (*own, *raw_schema["components"]["requestBodies"].values()):
        content = body.get("content", {})
        if media in content:
            body["content"] = {media: content[media]}


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Give every request time, and each key to one request; what is not well formed is sent as it is. A pull waits for no event."""
    headers = case.headers or {}
    if "X-Request-Timeout" in headers and _is_time(str(headers["X-Request-Timeout"])):
        headers["X-Request-Timeout"] = "20"
    if len(headers.get("Idempotency-Key", "")) in range(1, 200):
        headers["Idempotency-Key"] += secrets.token_hex(8)
    case.body = _narrowed(case.body)
    if case.path.endswith("/simulate") and isinstance(case.body, dict):
        case.body = _shortened(case.body)


def _shortened(asked: dict[str, Any]) -> dict[str, Any]:
    """Have it take no time; what is not well formed stays so."""
    held = asked.get("data")
    if isinstance(held, dict) and isinstance(held.get("attributes"), dict):  # as JSON:API
        return {**asked, "data": {**held, "attributes": _shortened(held["attributes"])}}
    short = dict(asked)
    if _is_number(asked.get("runs", 1)):
        short["runs"] = min(2, asked.get("runs", 1))
    if _is_number(asked.get("horizon")):
        short["horizon"] = min(20, asked["horizon"])
    return short


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _is_wait(given: Any) -> bool:
    return _is_number(given) and 0 < given <= LONGEST_WAIT_SECONDS


def _narrowed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: 0 if name in ("wait", "wait_seconds") and _is_wait(each) else _narrowed(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_narrowed(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON Schema takes 1.0 for an integer, a strict model does not
    if isinstance(value, int) and not isinstance(value, bool):
        return max(SMALLEST, min(LARGEST, value))
    return value


def _is_time(text: str) -> bool:
    try:
        return patience_of(text) > 0
    except HubError:
        return False
