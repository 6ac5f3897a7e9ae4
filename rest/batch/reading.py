"""A batch as JSON: `{"operations": [{"method", "path", "headers", "body"}...], "atomic": false}`."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, WithJsonSchema

from core.operations.validation import invalid
from rest.batch.operations import MOST_OPERATIONS, BatchOperation
from rest.batch.references import is_reference

_MOST_CHARACTERS = 8000


def _text(value: Any) -> Any:
    if not isinstance(value, str) and not is_reference(value):
        raise ValueError('Must be a text, or a reference such as {"$ref": "0.headers.ETag"}')
    if isinstance(value, str) and len(value) > _MOST_CHARACTERS:
        raise ValueError(f"Must have at most {_MOST_CHARACTERS} characters")
    return value


def _path(value: Any) -> Any:
    if isinstance(_text(value), str) and not value.startswith("/"):
        raise ValueError("Must begin with /")
    return value


def _header_name(name: str) -> str:
    if name.lower() == "authorization":
        raise ValueError("Every operation has the credential of the batch")
    return name


def _schema(**text: Any) -> WithJsonSchema:
    # A property called `$ref` is taken for a reference of the document itself by many readers, also within an example.
    description = 'Or, in place of a text, a reference: an object with `$ref`, such as "0.headers.Location"'
    return WithJsonSchema({"type": "string", "maxLength": _MOST_CHARACTERS, **text, "description": description})


_HeaderName = Annotated[str, AfterValidator(_header_name)]
_HeaderValue = Annotated[Any, AfterValidator(_text), _schema()]


class BatchedOperation(BaseModel):
    """One operation, as a request of its own; `{"$ref": "0.body.id"}`, in a text `{0.body.id}`, is what an earlier one answered."""

    model_config = ConfigDict(extra="forbid", strict=True)

    method: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    path: Annotated[Any, AfterValidator(_path), _schema(pattern="^/")]
    headers: dict[_HeaderName, _HeaderValue] = Field(default_factory=dict[str, Any])
    body: Any = None


_AGENT: dict[str, Any] = {"name": "Agent 1", "capabilities": ["text_processing"], "metadata": {"team": "support"}}


class BatchBody(BaseModel):
    """Operations in their order; `atomic`: all of them, or none."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "operations": [
                        {"method": "POST", "path": "/v2/agents", "body": _AGENT},
                        {"method": "PATCH", "path": "/v2/agents/{0.body.id}", "body": {"status": "paused"}},
                    ],
                    "atomic": True,
                }
            ]
        },
    )

    operations: list[BatchedOperation] = Field(min_length=1, max_length=MOST_OPERATIONS)
    atomic: bool = False


def read_batch(data: object) -> tuple[list[BatchOperation], bool]:
    """Return the operations, and whether they are atomic; raises HubError VALIDATION_ERROR with all that is wrong."""
    try:
        body = BatchBody.model_validate(data)
    except ValidationError as error:
        raise invalid(data, error) from error
    return [BatchOperation(each.method, each.path, each.headers, each.body) for each in body.operations], body.atomic
