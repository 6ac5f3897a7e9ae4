"""Versions as entity tags: `"<version>"`, with a suffix where another representation of it is meant (RFC 9110, 8.8.3)."""

import re

_TAG = re.compile(r'"(\d{1,19})(?:\.[A-Za-z0-9._-]*)?"')


def etag(version: int, variant: str = "") -> str:
    """Return the entity tag of a version, in the plain representation or in another, which `variant` names."""
    return f'"{version}.{variant}"' if variant else f'"{version}"'


def matches(if_match: str, version: int) -> bool:
    """Tell whether an If-Match value names `version`; one that is not well formed names nothing (RFC 9110, 13.1.1)."""
    if if_match.strip() == "*":
        return True
    tags = (_TAG.fullmatch(part.strip()) for part in if_match.split(","))
    return any(tag is not None and int(tag[1]) == version for tag in tags)
