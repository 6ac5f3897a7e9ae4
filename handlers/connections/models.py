"""Open streams as clients ask for them and see them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from handlers.described import WITHOUT_NUL
from handlers.lists.models import Names, Sorted, is_storable
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

# The nodes send all up to the page that is wanted; farther down lead cursors.
DEEPEST = 5_000
_Filter = Annotated[str, StringConstraints(max_length=300), AfterValidator(is_storable), WITHOUT_NUL] | None


class ListConnections(Sorted):
    """A part of the open streams, newest first unless they are sorted, of each all or some `fields`; all filters must hold."""

    page: int = Field(1, ge=1, le=DEEPEST)
    fields: Names | None = None
    subject: _Filter = None
    channel: _Filter = None
    node: _Filter = None

    @property
    def named(self) -> dict[str, str]:
        """The filters that have parameters of their own, as far as they are given."""
        named = {"subject": self.subject, "channel": self.channel, "node": self.node}
        return {name: value for name, value in named.items() if value is not None}


_EXAMPLE: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "node": "01978f3e-0000-7c3d-9b42-6f0d2c1e8a55",
    "subject": "user:ada",
    "since": EXAMPLE_TIME,
    "channels": 1,
    "waiting_bytes": 0,
}


class Connection(BaseModel):
    """An open stream: who opened it, when, on which node, and what waits for its client."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    node: UUID
    subject: str | None
    since: datetime
    channels: int
    waiting_bytes: int


class ConnectionWithChannels(Connection):
    """An open stream, with the names of its channels."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "subscriptions": ["agents"]}]})

    subscriptions: list[str]
