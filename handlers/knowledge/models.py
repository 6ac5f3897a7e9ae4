"""A knowledge base as clients write it."""

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue

from handlers.resources.models import Body, Metadata, Name, Slug, Text

_RECORDS: list[JsonValue] = [{"type": "object"}, {"type": "array", "items": {}}]


def _is_record(given: Any) -> Any:
    # Said once and of the field itself: a choice of types tells what is wrong with each, below names that no client knows.
    if given is not None and not isinstance(given, dict | list):
        raise ValueError("Must be an object or an array")
    return given  # pyright: ignore[reportUnknownVariableType] - JSON


Record = Annotated[dict[str, Any] | list[Any] | None, BeforeValidator(_is_record)]


class KnowledgeBody(Body):
    """A knowledge base: with `data` it holds that one record, `sources` name what clients upload or the hub fetches.

    A record needs no name: its own `name` is taken, else its type.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["name"], "properties": {"name": {"type": "string"}}},
                {"required": ["data"], "properties": {"data": {"anyOf": _RECORDS}}},
            ],
            "examples": [
                {
                    "name": "Product Documentation",
                    "type": "documentation",
                    "sources": ["docs/**/*.md"],
                    "metadata": {"team": "docs"},
                }
            ],
        }
    )

    name: Name | None = None
    type: Slug = "documentation"
    status: Slug = "active"
    source: Text | None = None
    sources: list[Text] = Field(default=[], max_length=1000)
    data: Record = None
    metadata: Metadata = Field(default_factory=dict[str, Any])
