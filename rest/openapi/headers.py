"""The headers that requests and answers have, as components of a document."""

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "integer"}


def _header(description: str, schema: dict[str, Any] = _TEXT, example: object = None) -> dict[str, Any]:
    written: dict[str, Any] = {"description": description, "schema": schema}
    if example is not None:
        written["example"] = example
    return written


ANSWERED: dict[str, dict[str, Any]] = {
    "X-Request-Id": _header("The request's id: the client's own, or a new one"),
    "ETag": _header("The version of the resource, in quotes; of a list, a hash", example='"3"'),
    "Content-Encoding": _header(
        "The coding that the body is in, where `Accept-Encoding` takes it and it pays",
        {"type": "string", "enum": ["zstd", "gzip"]},
    ),
    "Last-Modified": _header("When this version was made"),
    "Location": _header("Where what was made is", {"type": "string", "format": "uri-reference"}),
    "Link": _header("Other pages of this list, or documents about this version (RFC 8288)"),
    "Cache-Control": _header("Who may keep this, and for how long (RFC 9111)"),
    "Vary": _header("The request headers that this depends on"),
    "X-Event-Id": _header("The event that the write has put into the log", {"type": "string", "format": "uuid"}),
    "Idempotent-Replayed": _header(
        "This is the first result under the Idempotency-Key", {"type": "string", "enum": ["true"]}
    ),
    "X-RateLimit-Limit": _header("Requests in a window", _NUMBER),
    "X-RateLimit-Remaining": _header("Requests that are left in this window", _NUMBER),
    "X-RateLimit-Reset": _header("When the next window begins, in seconds since 1970", _NUMBER),
    "X-RateLimit-Window": _header("How long a window is, in seconds", _NUMBER),
    "RateLimit": _header("What is left (draft-ietf-httpapi-ratelimit-headers)"),
    "RateLimit-Policy": _header("The limits (draft-ietf-httpapi-ratelimit-headers)"),
    "Retry-After": _header("Seconds after which to try again", _NUMBER),
    "WWW-Authenticate": _header("What credential is asked for (RFC 6750)"),
    "Allow": _header("The methods that there are"),
    "Deprecation": _header("Since when this version is deprecated (RFC 9745)"),
    "Sunset": _header("From when on this version may be gone (RFC 8594)"),
    "Server-Timing": _header("In debug mode: milliseconds that the parts of the request took"),
    "X-Debug": _header("In debug mode: the request's and the answer's detail as JSON, secrets masked"),
    "API-Status": _header("`beta`: what this version answers may still change"),
}
DEBUGGED = ("Server-Timing", "X-Debug")
LIMITS = tuple(name for name in ANSWERED if name.startswith(("X-RateLimit", "RateLimit")))

_AS_SENT: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "Names the request in answers and logs: 1 to 128 letters, digits, `.`, `_`, `-`; else it gets a new one",
        "schema": _TEXT,
        "example": "req-1",
    },
    "X-Request-Timeout": {
        "description": "Seconds that the caller waits, at most 30; then 504",
        "schema": {"type": "number", "exclusiveMinimum": 0},
        "example": 10,
    },
    "Idempotency-Key": {
        "description": "Under one key a thing is done once; a repeat within 24 h gets the first answer",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "example": "5f1c2c9e-order-17",
    },
    "If-Match": {
        "description": "The change happens to this version, or is 412",
        "schema": _TEXT,
        "example": "*",
    },
    "If-None-Match": {
        "description": "Where this is the version, the answer is 304 without a body",
        "schema": _TEXT,
        "example": '"0"',
    },
    "If-Modified-Since": {
        "description": "Where it was not changed after this second, the answer is 304; counts only without If-None-Match",
        "schema": _TEXT,
        "example": "Thu, 01 Jan 2015 00:00:00 GMT",
    },
}
SENT: dict[str, dict[str, Any]] = {name: {"name": name, "in": "header", **each} for name, each in _AS_SENT.items()}


def named(*names: str) -> dict[str, Any]:
    """Return references to answered headers, by name."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def sent(*names: str) -> list[dict[str, Any]]:
    """Return references to the headers of a request."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]
