"""Namespaces as clients write and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from core.auth.caller import ALL_SCOPES
from handlers.described import WITHOUT_NUL, Described, no_nul
from handlers.resources.models import Body, DeleteInput
from handlers.resources.shown import EXAMPLE_TIME
from rooms.live_rules import DAY, KIB

MOST_HISTORY_ENTRIES = 10_000
MOST_HISTORY_BYTES = 16 * 1024 * KIB
MOST_HISTORY_SECONDS = 7 * DAY
MOST_MESSAGE_BYTES = 64 * KIB

_SET: dict[str, JsonValue] = {"history_entries": 100, "history_seconds": 3600, "wildcard": True}
_EFFECTIVE: dict[str, JsonValue] = {
    "read_scope": "read:streams",
    "publish_scope": "write:streams",
    "members_only": False,
    "delivery": "ordered",
    "key": "",
    "history_entries": 100,
    "history_bytes": 1024 * KIB,
    "history_seconds": 3600,
    "message_bytes": 16 * KIB,
    "publishes_per_second": None,
    "organisation_publishes_per_second": None,
    "presence": True,
    "wildcard": True,
}


def _is_scope(text: str) -> str:
    if text not in ALL_SCOPES:
        raise ValueError(f"There is no such scope; there are {', '.join(sorted(ALL_SCOPES))}")
    return text


Scope = Annotated[str, AfterValidator(_is_scope), Described("pattern", f"^({'|'.join(sorted(ALL_SCOPES))})$")]
Member = Annotated[str, StringConstraints(max_length=64), AfterValidator(no_nul), WITHOUT_NUL]


class NamespaceSettings(Body):
    """What goes for a namespace; what is left out, or null, is as it is by default.

    `members_only`: only who has subscribed publishes. `key`, of `latest`: events whose data have the same there replace each
    other for who reads slowly; empty: all do. Rates: of one connection, and of all of the organisation together.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_SET]})

    read_scope: Scope | None = None
    publish_scope: Scope | None = None
    members_only: bool | None = None
    delivery: Literal["ordered", "latest"] | None = None
    key: Member | None = None
    history_entries: int | None = Field(None, ge=1, le=MOST_HISTORY_ENTRIES)
    history_bytes: int | None = Field(None, ge=KIB, le=MOST_HISTORY_BYTES)
    history_seconds: int | None = Field(None, ge=1, le=MOST_HISTORY_SECONDS)
    message_bytes: int | None = Field(None, ge=1, le=MOST_MESSAGE_BYTES)
    publishes_per_second: int | None = Field(None, ge=1, le=1_000)
    organisation_publishes_per_second: int | None = Field(None, ge=1, le=100_000)
    presence: bool | None = None
    wildcard: bool | None = None

    def given(self) -> dict[str, Any]:
        """Return what is set."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class Namespace(BaseModel):
    """A namespace: what goes for it (`settings`), what of it the organisation has set (`own`), what nobody can set (`fixed`).

    `origin`: who has made it. Version 0: the organisation has never set anything.
    """

    model_config = ConfigDict(
        json_schema_serialization_defaults_required=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "chat",
                    "kind": "live",
                    "origin": "built_in",
                    "settings": _EFFECTIVE,
                    "own": _SET,
                    "fixed": ["delivery", "key"],
                    "created_at": EXAMPLE_TIME,
                    "updated_at": EXAMPLE_TIME,
                    "version": 1,
                }
            ]
        },
    )

    id: str
    kind: Literal["live", "log"]
    origin: Literal["built_in", "file", "organisation"]
    settings: dict[str, Any]
    own: dict[str, Any]
    fixed: list[str]
    created_at: datetime | None
    updated_at: datetime | None
    version: int = Field(ge=0)


class ListNamespaces(BaseModel):
    """A page of the namespaces, in the order of their names."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)


class PutNamespace(DeleteInput):
    """A namespace by its name, with what is to go for it."""

    body: dict[str, Any]
