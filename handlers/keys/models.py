"""Keys as clients write them."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, JsonValue

from core.auth.caller import ALL_SCOPES
from handlers.described import Described
from handlers.lists.models import Names, Sorted
from handlers.resources.models import Body, DeleteInput, Name
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME, Own

_EXAMPLE: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "name": "nightly import",
    "hint": "aim_live_8fKd",
    "status": "live",
    "scopes": ["read:agents"],
    "resource_ids": None,
    "created_at": EXAMPLE_TIME,
    "updated_at": EXAMPLE_TIME,
    "expires_at": None,
    "revoked_at": None,
    "old_secret_until": None,
    "version": 1,
}
MOST_RESOURCES = 1_000
LONGEST_OVERLAP_SECONDS = 7 * 24 * 3600

Scope = Annotated[str, Described("enum", sorted(ALL_SCOPES))]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=100)]
ResourceIds = Annotated[list[Annotated[UUID, Field(strict=False)]], Field(max_length=MOST_RESOURCES)]


_NUMBER = re.compile(r"[+-]?[0-9.]*")


def _is_text(given: Any) -> Any:
    # Not a number, which would be seconds since 1970, or milliseconds.
    if isinstance(given, int | float) or (isinstance(given, str) and _NUMBER.fullmatch(given)):
        raise ValueError("Must be a time with its offset (RFC 3339)")
    return given


Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_is_text)]


class Key(Own):
    """A key without its secret; `hint` is how it begins, `old_secret_until` until when the secret before is taken too."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    hint: str
    status: Literal["live", "expired", "revoked"]
    scopes: list[str]
    resource_ids: list[UUID] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    old_secret_until: datetime | None


class KeyWithSecret(Key):
    """A key with its secret, which is never told again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "key": "aim_live_8fKd..."}]})

    key: str


class NewKey(Body):
    """A key to make: its scopes, at most the caller's; the ids that it is restricted to, and its end, where it has any."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "nightly import", "scopes": ["read:agents"]}]})

    name: Name
    scopes: Scopes
    resource_ids: ResourceIds | None = None
    expires_at: Moment | None = None
    mode: Literal["live", "test"] = "live"


class KeyChange(Body):
    """What of a key is to be another; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "hourly import"}]})

    name: Name = Field(default_factory=str)
    scopes: Scopes = Field(default_factory=list[str])
    resource_ids: ResourceIds | None = None
    expires_at: Moment | None = None


class ListKeys(Sorted):
    """A part of the organisation's keys, newest first unless they are sorted, of each all or some `fields`."""

    fields: Names | None = None
    status: Literal["live", "expired", "revoked"] | None = None


class ChangeKey(DeleteInput):
    """One key to change, with the fields that were sent."""

    body: dict[str, Any]


class RotateKey(DeleteInput):
    """One key to get a new secret; the one before is taken for `overlap_seconds` more."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 3600}]})

    overlap_seconds: int = Field(0, ge=0, le=LONGEST_OVERLAP_SECONDS, strict=True)
