"""Types of events that an organisation registers: described, with a schema that their data is held against, and an example."""

from pathlib import Path
from typing import Any, NoReturn

import orjson
from pydantic import ConfigDict, Field, JsonValue

from core.errors import Detail, HubError
from core.events.catalogue import EventType
from core.ids import new_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Shown
from core.operations.validation import validated
from core.store.queries import load_queries
from handlers.events.custom import is_custom_type
from handlers.events.models import ShownEventType
from handlers.events.schemas import MOST_BYTES, MOST_WORK, compiled
from handlers.resources.models import Body, GetInput, Text
from handlers.resources.shown import EXAMPLE_TIME

_SQL = load_queries(Path(__file__).with_name("registered.sql"))
_WRITE = "write:events"
MOST_TYPES = 500
_EXAMPLE_EVENT_ID = "01978f3e-5a71-7c3d-9b42-6f0d2c1e8a55"
_EXAMPLE_SUBJECT = "order-17"


_SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "required": ["total"],
    "properties": {"total": {"type": "number", "minimum": 0}},
}
_DATA: dict[str, JsonValue] = {"total": 99.5}


class TypeRegistration(Body):
    """A type of events: what it is, the JSON Schema (draft 2020-12) of its data, and an example of that; each may be left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"description": "A customer has ordered", "schema": _SCHEMA, "example": _DATA}],
        }
    )

    description: Text = ""
    data_schema: dict[str, Any] = Field(default_factory=dict[str, Any], alias="schema")
    example: dict[str, Any] = Field(default_factory=dict[str, Any])


class RegisteredEventType(ShownEventType):
    """A type that the organisation has registered, as the platform's are shown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "custom.order.placed",
                    "summary": "A customer has ordered",
                    "status": "registered",
                    "subject": "<id>",
                    "data_schema": _SCHEMA,
                    "example": {
                        "id": _EXAMPLE_EVENT_ID,
                        "type": "custom.order.placed",
                        "source": "aimatrix",
                        "subject": _EXAMPLE_SUBJECT,
                        "time": EXAMPLE_TIME,
                        "data": _DATA,
                    },
                }
            ]
        }
    )


class RegisterType(GetInput):
    """A type by its name, with what is to be known of it."""

    body: dict[str, Any]


class Registering:
    """The types that the organisation has registered."""

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "event-types.register",
        scope=_WRITE,
        transaction="write",
        input=RegisterType,
        result=Shown,
        repeatable=True,
        body=TypeRegistration,
        shows=RegisteredEventType,
    )
    async def register(self, ctx: Context, wanted: RegisterType) -> Shown:
        """Register a type of events under `custom.`, or replace it; what was appended before stays as it is."""
        _check_caller(ctx)
        if not is_custom_type(wanted.id):
            raise HubError(
                "RESOURCE_NOT_FOUND", "Types that are registered are called custom.<words with dots between them>"
            )
        new = validated(TypeRegistration, wanted.body)
        assert isinstance(new, TypeRegistration)  # noqa: S101 - tells the type checker what validated() made
        _check(new)
        row = await ctx.db.fetchrow(
            _SQL["register"],
            wanted.id,
            new_id(),
            new.description,
            _written(new.data_schema) if "data_schema" in new.model_fields_set else None,
            _written(new.example) if "example" in new.model_fields_set else None,
            ctx.now,
            MOST_TYPES,
        )
        if row is None:
            raise HubError("RESOURCE_CONFLICT", f"An organisation has at most {MOST_TYPES} types of events")
        return Shown(text_of(row))

    @operation("event-types.delete", scope=_WRITE, transaction="write", input=GetInput, result=Deleted, repeatable=True)
    async def delete(self, ctx: Context, gone: GetInput) -> Deleted:
        """Forget a registered type: events of it are appended as before, and not checked."""
        _check_caller(ctx)
        row = await ctx.db.fetchrow(_SQL["remove"], gone.id) if is_custom_type(gone.id) else None
        if row is None:
            missing()
        return Deleted("event-types", row["id"], row["version"])


async def page(ctx: Context, first: int, count: int) -> tuple[list[str], int]:
    """Return `count` types from the one numbered `first` on, in the order of their names, and how many there are."""
    rows = await ctx.db.fetch(_SQL["page"], count, first)
    return [text_of(row) for row in rows if row["name"] is not None], rows[0]["total"]


async def find(ctx: Context, name: str) -> str | None:
    """Return a registered type, None where there is none of this name."""
    row = await ctx.db.fetchrow(_SQL["find"], name) if is_custom_type(name) else None
    return None if row is None else text_of(row)


def text_of(row: Any) -> str:
    """Return a registered type as the platform's are shown."""
    schema = {"type": "object"} if row["schema"] is None else orjson.loads(row["schema"])
    example = {} if row["example"] is None else orjson.loads(row["example"])
    described = EventType(row["name"], row["description"], "<id>", schema, example)
    return orjson.dumps(
        {
            "id": row["name"],
            "summary": row["description"],
            "status": "registered",
            "subject": "<id>",
            "data_schema": schema,
            "example": described.event(_EXAMPLE_EVENT_ID, EXAMPLE_TIME, _EXAMPLE_SUBJECT),
        }
    ).decode()


def missing() -> NoReturn:
    """Raise HubError RESOURCE_NOT_FOUND."""
    raise HubError("RESOURCE_NOT_FOUND", "There is no type of events with this name")


def _check(new: TypeRegistration) -> None:
    example = orjson.dumps(new.example)
    if len(example) > MOST_BYTES:
        detail = Detail("example", "VALUE_OUT_OF_RANGE", f"An example has at most {MOST_BYTES >> 10} KiB")
        raise HubError("VALIDATION_ERROR", details=[detail])
    if "data_schema" not in new.model_fields_set:
        return
    schema = compiled(new.data_schema, "schema")
    if "example" not in new.model_fields_set:
        return
    work = schema.work(example)
    if work > MOST_WORK:
        detail = Detail("example", "VALUE_OUT_OF_RANGE", "It is too large to be checked with this schema")
        raise HubError("VALIDATION_ERROR", details=[detail])
    wrong = schema.problems(new.example, work, "example")
    if wrong:
        raise HubError("VALIDATION_ERROR", details=wrong)


def _check_caller(ctx: Context) -> None:
    if ctx.caller.resource_ids is not None:
        raise HubError("FORBIDDEN", "This credential is for some resources only; types are of the whole organisation")


def _written(value: Any) -> str:
    return orjson.dumps(value).decode()
