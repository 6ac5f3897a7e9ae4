"""Inputs that all resources share. The body of a resource is its own folder's matter."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from handlers.described import WITHOUT_NUL, Described, no_nul
from handlers.lists.models import Names, Phrase, Sorted, Word
from handlers.resources.json_patch import MOST_OPERATIONS, PatchOperation

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# A NUL as JSON writes it; what only looks like one has another backslash before.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def _no_nul_within(value: dict[str, Any]) -> dict[str, Any]:
    if _NUL.search(orjson.dumps(value)):
        raise ValueError("NUL characters are not allowed")
    return value


def _is_slug(text: str) -> str:
    if _SLUG.fullmatch(text) is None:
        raise ValueError("1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first")
    return text


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(no_nul),
    Described("pattern", r"^[^\u0000]*[^\s\u0000][^\u0000]*$"),
]
Slug = Annotated[str, AfterValidator(_is_slug), Described("pattern", f"^{_SLUG.pattern}$")]
Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(no_nul), WITHOUT_NUL]
Metadata = dict[str, Any]
# As PostgreSQL's jsonb keeps it, which documents are filtered by.
KeptMetadata = Annotated[Metadata, AfterValidator(_no_nul_within)]


class Body(BaseModel):
    """A resource's body as a client sends it; strict in types, and a name that it does not have is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


AsOf = Annotated[
    str,
    StringConstraints(max_length=64),
    Field(description="As it was then: a position of the log, or a time (RFC 3339)"),
]


class ListInput(Sorted):
    """A part of a list: sorted, filtered, of each resource all or some `fields`; `q` asks for every one of its words."""

    fields: Names | None = None
    type: Word | None = None
    status: Word | None = None
    q: Phrase | None = None
    as_of: AsOf | None = None


class GetInput(BaseModel):
    """One resource by its id."""

    model_config = ConfigDict(extra="forbid")

    id: str


class LookInput(GetInput):
    """One resource by its id, as it is or as it was, all of it or some `fields`."""

    fields: Names | None = None
    as_of: AsOf | None = None


class DeleteInput(GetInput):
    """One resource to remove; `if_match` is the raw If-Match value that must name its version."""

    if_match: str | None = None


class ChangeInput(DeleteInput):
    """One resource to replace or to patch, with the fields that were sent."""

    body: dict[str, Any]


def _either(schema: dict[str, Any]) -> None:
    schema["required"] = [name for name in schema["required"] if name != "body"]
    schema["anyOf"] = [{"required": ["body"]}, {"required": ["patch"]}]


class UpdateInput(ChangeInput):
    """One resource to patch: by `body`, a JSON Merge Patch, or by `patch`, a JSON Patch, in place of it."""

    model_config = ConfigDict(json_schema_extra=_either)

    patch: Annotated[list[PatchOperation], Field(max_length=MOST_OPERATIONS)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_is_enough(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "body" not in data and data.get("patch") is not None:  # pyright: ignore[reportUnknownMemberType] - JSON
            return {**data, "body": {}}
        return data  # pyright: ignore[reportUnknownVariableType] - what it is not is refused by its fields

    @field_validator("patch")
    @classmethod
    def _not_both(cls, patch: list[PatchOperation] | None, info: ValidationInfo) -> list[PatchOperation] | None:
        if patch is not None and info.data.get("body"):
            raise ValueError("A change has a body or a patch, not both")
        return patch
