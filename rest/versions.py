"""`GET /versions`: which versions there are, how far each is supported, and what clients can count on."""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from core.content.text import Text
from rest.endpoints import Parts
from rest.forms import JSON
from rest.published import Published
from rest.routes import Version

# A version is served for this long after the one that follows it is stable, and an end is announced so long before.
COMPATIBILITY_MONTHS = 12
NOTICE_MONTHS = 6
KEPT_SECONDS = 3600


class Versions(Published):
    """The matrix of `versions`; those of `off` are not served here. Needs no credential."""

    def __init__(self, parts: Parts, versions: Sequence[Version], off: Sequence[Version], default: Version) -> None:
        super().__init__(parts)
        served = [version for version in versions if version not in off]
        matrix = {
            "default": default.name,
            "versions": [_entry(version, is_served=version in served) for version in versions],
            "policy": {
                "versioning": "semantic",
                "compatibility_months": COMPATIBILITY_MONTHS,
                "deprecation_notice_months": NOTICE_MONTHS,
            },
        }
        self._text = Text(orjson.dumps(matrix), JSON, cache=f"public, max-age={KEPT_SECONDS}")

    async def choose(self, request: web.Request) -> Text:
        """Return the matrix."""
        return self._text


def _entry(version: Version, *, is_served: bool) -> dict[str, Any]:
    return {
        "version": version.name,
        "status": version.status,
        "support_level": version.support_level,
        "features": list(version.features),
        "sunset_date": None if version.sunset is None else version.sunset.isoformat(),
        "served": is_served,
        "links": {"migration_guide": version.guide} if version.guide else {},
    }
