"""Branches of twins as clients make and see them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handlers.lists.models import Sorted
from handlers.resources.models import Body, DeleteInput, Name
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME, change, example_of
from handlers.twins.models import TwinBody

# Of one twin; of those that were applied the oldest make room.
MOST_BRANCHES = 100
MOST_CONFLICTS = 100
BRANCH_ID = "01978f3e-5a78-7c3d-9b42-6f0d2c1e8a55"
_NEW: dict[str, JsonValue] = {"name": "More stock"}
_BRANCH: dict[str, JsonValue] = {
    "id": BRANCH_ID,
    "twin_id": EXAMPLE_ID,
    "name": "More stock",
    "status": "open",
    "base_version": 1,
    "is_changed": True,
    "created_by": "user:ada",
    "created_at": EXAMPLE_TIME,
    "updated_at": EXAMPLE_TIME,
    "applied_version": None,
    "applied_at": None,
    "version": 2,
}
_DOCUMENT = TwinBody.model_validate(example_of(TwinBody)).model_dump(mode="json")


class NewBranch(Body):
    """A branch of a twin, as the twin is now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_NEW]})

    id: str
    name: Name


class Branch(BaseModel):
    """A twin as it could be, from version `base_version` on; `is_changed` tells whether anything of it differs yet.

    `applied_version` is the version of the twin that came of it.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_BRANCH]})

    id: UUID
    twin_id: UUID
    name: str
    status: Literal["open", "applied"]
    base_version: int
    is_changed: bool
    created_by: str
    created_at: datetime
    updated_at: datetime
    applied_version: int | None
    applied_at: datetime | None
    version: int


class WholeBranch(Branch):
    """A branch with its `document`: the fields of the twin as they would be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_BRANCH, "document": _DOCUMENT}]})

    document: dict[str, Any]


BranchChange = change("BranchChange", TwinBody, {"data": {"stock": {"widgets": 84}}})


class ListBranches(Sorted):
    """A page of a twin's branches, newest first."""

    id: str


class ApplyBranch(DeleteInput):
    """A branch to apply; `if_match` is the raw If-Match value that must name the version of the twin."""


class Difference(BaseModel):
    """How a branch differs from its base, and whether the twin has moved on since.

    `merge_patch` is null where a merge patch cannot say it; `conflicts` are the places that both have changed, a hundred at most.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "branch_id": BRANCH_ID,
                    "twin_id": EXAMPLE_ID,
                    "base_version": 1,
                    "twin_version": 1,
                    "has_moved": False,
                    "json_patch": [{"op": "replace", "path": "/data/stock/widgets", "value": 84}],
                    "merge_patch": {"data": {"stock": {"widgets": 84}}},
                    "conflicts": [],
                }
            ]
        }
    )

    branch_id: UUID
    twin_id: UUID
    base_version: int
    twin_version: int
    has_moved: bool
    json_patch: list[dict[str, Any]]
    merge_patch: dict[str, Any] | None
    conflicts: list[str] = Field(max_length=MOST_CONFLICTS)
