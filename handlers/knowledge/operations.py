"""What can be done with knowledge bases."""

from collections.abc import Mapping
from typing import Any

from core.errors import Detail, HubError
from handlers.knowledge.models import KnowledgeBody
from handlers.resources.crud import Resource

_LONGEST_NAME = 200


class Knowledge(Resource[KnowledgeBody]):
    """Knowledge bases, kept as documents."""

    kind = "knowledge"
    event = "knowledge"
    body = KnowledgeBody

    def describe(self, body: KnowledgeBody) -> tuple[str, str, str]:
        """Return name, type and status; a record without a name is called by its own `name`, else by its type."""
        if body.name is None and body.data is None:
            missing = Detail("name", "MISSING_REQUIRED_FIELD", "Field required, unless data is the record itself")
            raise HubError("VALIDATION_ERROR", details=[missing])
        return body.name or _own_name(body.data) or body.type, body.type, body.status


def _own_name(data: dict[str, Any] | list[Any] | None) -> str | None:
    if not isinstance(data, Mapping):
        return None
    named = next((data[key] for key in ("name", "Name") if isinstance(data.get(key), str)), "")
    # A record's strings may hold NUL, a name may not: PostgreSQL's text has none.
    return named.replace("\x00", "").strip()[:_LONGEST_NAME].rstrip() or None
