"""How a resource looks as GET answers it, derived from its body: its fields, and those that the hub writes.

Only described, never built: what is answered is the stored text.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from handlers.resources.models import Body

EXAMPLE_ID = "01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55"
EXAMPLE_TIME = "2026-01-01T12:00:00.000000Z"


class Own(BaseModel):
    """What the hub writes into every resource."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    id: UUID
    created_at: datetime
    updated_at: datetime
    version: int = Field(ge=1)


def shown(name: str, body: type[Body]) -> type[BaseModel]:
    """Return the model of a resource of this name; its example is the body's, whole."""
    made = create_model(name, __base__=(Own, body), __doc__=body.__doc__)
    example = body.model_validate(example_of(body)).model_dump(mode="json")
    own = {"created_at": EXAMPLE_TIME, "updated_at": EXAMPLE_TIME, "version": 1}
    made.model_config["json_schema_extra"] = {"examples": [{"id": EXAMPLE_ID, **example, **own}]}
    return made


def change(name: str, body: type[Body], example: Mapping[str, Any]) -> type[BaseModel]:
    """Return the model of a JSON Merge Patch of a body: every field may be left out, and `null` takes it back to its default."""
    fields: dict[str, Any] = {
        # A default that is made does not stand in the schema: what is left out stays as it is.
        field: (_nullable(info), Field(default_factory=lambda: None))
        for field, info in body.model_fields.items()
    }
    made = create_model(name, __base__=Body, __doc__=f"{body.__doc__}\n\nEvery field may be left out.", **fields)
    made.model_config["json_schema_extra"] = {"examples": [dict(example)]}
    return made


def _nullable(info: FieldInfo) -> Any:
    return info.rebuild_annotation() if info.is_required() else info.rebuild_annotation() | None


def example_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the first example of a model; raises LookupError where it has none."""
    extra = model.model_config.get("json_schema_extra")
    if not isinstance(extra, dict) or "examples" not in extra:
        raise LookupError(f"{model.__name__} has no example")
    return cast("list[dict[str, Any]]", extra["examples"])[0]
