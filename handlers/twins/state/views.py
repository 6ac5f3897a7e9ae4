"""What is asked of a twin's state beside the twin itself, and how it is answered."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handlers.lists.models import Word
from handlers.resources.models import GetInput, Slug
from handlers.resources.shown import EXAMPLE_ID

MOST_DEPTH = 10
Direction = Literal["out", "in", "both"]
Depth = Annotated[int, Field(ge=1, le=MOST_DEPTH)]
_OTHER_ID = "01978f3e-5a74-7c3d-9b42-6f0d2c1e8a55"
_TWIN: dict[str, JsonValue] = {"id": _OTHER_ID, "name": "Pump 7", "type": "pump", "status": "active"}
_STEP: dict[str, JsonValue] = {"name": "contains", "direction": "out", "twin": _TWIN}


class NeighboursInput(GetInput):
    """A page of what a twin is connected with: what it says of others (out), what others say of it (in), by name or any."""

    direction: Direction = "both"
    name: Slug | None = None
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)


class PathsInput(GetInput):
    """The way from a twin to another, over at most `depth` relationships of a name or of any."""

    to: Word
    direction: Direction = "out"
    name: Slug | None = None
    depth: Depth = MOST_DEPTH


class SubtreeInput(GetInput):
    """What is reached from a twin over relationships of one name."""

    name: Slug = "contains"
    depth: Depth = MOST_DEPTH


class NearTwin(BaseModel):
    """A twin, shortly."""

    id: UUID
    name: str
    type: str
    status: str


class RelationshipStep(BaseModel):
    """One relationship, as seen from where one stands: `out` says it of `twin`, `in` is said by it."""

    name: str
    direction: Literal["out", "in"]
    twin: NearTwin


class Neighbour(RelationshipStep):
    """A relationship and the twin at its other end. Its `id` is made of both ends and the name."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": f"{EXAMPLE_ID}:contains:{_OTHER_ID}", **_STEP, "metadata": {"since": 2026}}]
        }
    )

    id: str
    metadata: dict[str, Any]


class TwinPaths(BaseModel):
    """The shortest ways, at most ten of them; `length` is null where there is none. Not `complete`: too much to look at."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"twin_id": EXAMPLE_ID, "to": _OTHER_ID, "length": 1, "paths": [{"steps": [_STEP]}], "complete": True}
            ]
        }
    )

    twin_id: UUID
    to: UUID
    length: int | None
    paths: list["TwinPath"]
    complete: bool


class TwinPath(BaseModel):
    """A way, step by step."""

    steps: list[RelationshipStep]


class SubtreeTwin(NearTwin):
    """A twin of a subtree, how far down it is, and below which twin."""

    depth: int = Field(ge=1)
    parent_id: UUID


class TwinSubtree(BaseModel):
    """Each twin once, by depth. Not `complete`: there are more than the thousand that are shown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "twin_id": EXAMPLE_ID,
                    "name": "contains",
                    "twins": [{**_TWIN, "depth": 1, "parent_id": EXAMPLE_ID}],
                    "complete": True,
                }
            ]
        }
    )

    twin_id: UUID
    name: str
    twins: list[SubtreeTwin]
    complete: bool


class TwinDifference(BaseModel):
    """What a twin shall be, what it is, and the merge patch from the second to the first, of a version of the twin."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "twin_id": EXAMPLE_ID,
                    "version": 3,
                    "desired": {"reorder_at": 40},
                    "reported": {"reorder_at": 25},
                    "difference": {"reorder_at": 40},
                    "is_in_sync": False,
                }
            ]
        }
    )

    twin_id: UUID
    version: int = Field(ge=1)
    desired: dict[str, Any] | None
    reported: dict[str, Any] | None
    difference: dict[str, Any]
    is_in_sync: bool
