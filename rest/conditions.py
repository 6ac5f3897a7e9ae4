"""What a caller may keep of reads, and whether it has it already (RFC 9110, section 13; RFC 9111).

What a credential was needed for is kept by that caller alone, and asked for again each time.
"""

from datetime import datetime

from core.content.codings import accepted
from core.content.validators import held, is_unchanged
from rest.asked import Asked

KEPT = "private, no-cache"
_VARY = "Accept, Accept-Encoding, Authorization"
# A path without a version means another resource with another API-Version.
_VARY_UNVERSIONED = f"{_VARY}, API-Version"


def is_held(asked: Asked, headers: dict[str, str], tag: str | None, modified: datetime | None = None) -> bool:
    """Tell whether the caller has the representation with `tag`, and put into `headers` what both answers say of it.

    Without a tag and a date it is never held. If-Modified-Since counts only without If-None-Match (RFC 9110, section 13.2.2).
    """
    headers["Cache-Control"] = KEPT
    headers["Vary"] = _VARY if asked.path.startswith(asked.prefix) else _VARY_UNVERSIONED
    if tag is None:
        return False
    headers["ETag"] = tag
    condition = asked.list_header("If-None-Match")
    if condition is not None:
        taken = asked.list_header("Accept-Encoding")
        found = held(condition, tag, None if taken is None else accepted(taken))
        headers["ETag"] = found or tag
        return found is not None
    since = asked.headers.get("If-Modified-Since") if modified is not None else None
    return since is not None and modified is not None and is_unchanged(since, modified)
