"""Resources as JSON:API has them: `{"type", "id", "attributes", "relationships", "links"}`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

# What of a resource names others: its field, and their type. All are to-many.
RELATIONSHIPS: Mapping[str, Mapping[str, str]] = {"agents": {"knowledge": "knowledge"}}
# A resource object's `type` is its kind, and no field may be called so (JSON:API, "Fields").
_RENAMED: Mapping[str, str] = {"type": "subtype"}
_PLAIN: Mapping[str, str] = {shown: plain for plain, shown in _RENAMED.items()}
_HELD = frozenset({"id"})


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of resources. `fields` are its attributes and relationships.

    `prefix` is what the path of one begins with, None where no path leads to it.
    """

    type: str
    fields: frozenset[str]
    relationships: Mapping[str, str]
    prefix: str | None

    def resource(self, fields: Mapping[str, Any], only: Collection[str] | None = None) -> dict[str, Any]:
        """Return a resource object of a plain resource, with all fields or `only` some (sparse fieldsets)."""
        attributes: dict[str, Any] = {}
        related: dict[str, Any] = {}
        for name, value in fields.items():
            field = shown(name)
            if name in _HELD or (only is not None and field not in only):
                continue
            if field in self.relationships:
                related[field] = {
                    "data": [{"type": self.relationships[field], "id": id} for id in dict.fromkeys(value)]
                }
            else:
                attributes[field] = value
        made: dict[str, Any] = {"type": self.type, "id": fields["id"], "attributes": attributes}
        if related:
            made["relationships"] = related
        if self.prefix is not None:
            made["links"] = {"self": f"{self.prefix}/{self.type}/{fields['id']}"}
        return made


def kind_of(type: str, model: type[BaseModel] | None, prefix: str | None) -> Kind:
    """Return the kind that `model` shows."""
    fields = {shown(name) for name in model.model_fields if name not in _HELD} if model is not None else set[str]()
    related = {name: to for name, to in RELATIONSHIPS.get(type, {}).items() if name in fields}
    return Kind(type, frozenset(fields), related, prefix)


def shown(name: str) -> str:
    """Return what JSON:API calls a field."""
    return _RENAMED.get(name, name)


def plain(field: str) -> str:
    """Return what operations call a field."""
    return _PLAIN.get(field, field)
