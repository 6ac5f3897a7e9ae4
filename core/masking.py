"""JSON, headers and text without secrets, as they stand in traces and in debug mode."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

MASK = "***"
_SECRET_NAMES = frozenset(
    {
        "token",
        "access_token",
        "refresh_token",
        "ticket",
        "secret",
        "client_secret",
        "password",
        "authorization",
        "api_key",
    }
)
# A key names a result that may be a secret.
_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "idempotency-key", "x-api-key", "x-hub-debug"}
)
# Keys, tickets and signing secrets of the hub; JSON Web Tokens.
_SECRETS = re.compile(r"\b(?:aim_(?:live|test)_|tkt_|whsec_)[\w+/=-]+|\beyJ[\w-]+\.[\w-]+\.[\w-]*")
# In text that is no JSON.
_NAMED = re.compile(rf'("(?:{"|".join(sorted(_SECRET_NAMES))})"\s*:\s*")(?:[^"\\]|\\.)*"?', re.IGNORECASE)
_IN_HEADERS = re.compile(r'("headers"\s*:\s*){(?:[^"{}]|"(?:[^"\\]|\\.)*"?)*}?', re.IGNORECASE)


def masked(value: Any) -> Any:
    """Return JSON without the values of secret names, of headers that go to a `url`, and without what looks like a credential."""
    if isinstance(value, dict):
        members = cast("Mapping[Any, Any]", value)
        shown = {masked(str(name)): _masked_member(str(name).lower(), member) for name, member in members.items()}
        return (
            shown | {"headers": _without_values(members["headers"])} if {"url", "headers"} <= members.keys() else shown
        )
    if isinstance(value, list):
        return [masked(each) for each in cast("list[Any]", value)]
    return _SECRETS.sub(MASK, value) if isinstance(value, str) else value


def _masked_member(name: str, value: Any) -> Any:
    return MASK if name in _SECRET_NAMES else masked(value)


def _without_values(headers: Any) -> Any:
    if not isinstance(headers, dict):
        return masked(headers)
    told = cast("Mapping[Any, Any]", headers)
    return {masked(str(name)): MASK if isinstance(value, str) else masked(value) for name, value in told.items()}


def masked_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers without those that carry secrets; several of one name are one."""
    shown: dict[str, str] = {}
    for name, value in headers:
        seen = MASK if name.lower() in _SECRET_HEADERS else _SECRETS.sub(MASK, value)
        shown[name] = f"{shown[name]}, {seen}" if name in shown else seen
    return shown


def masked_text(text: str) -> str:
    """Return text that is no JSON without what looks like a secret."""
    return _NAMED.sub(rf'\g<1>{MASK}"', _IN_HEADERS.sub(rf'\g<1>"{MASK}"', _SECRETS.sub(MASK, text)))
