"""An agent as clients write it and read it, and what is written of a new one."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from rest_tables import new_id

Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class AgentBody(BaseModel):
    """The fields that a client sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    type: Slug = "assistant"
    status: Slug = "active"
    capabilities: list[Slug] = Field(default=[], max_length=100)
    knowledge: list[Annotated[UUID, Field(strict=False)]] = Field(default=[], max_length=100)
    config: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)


class AgentAnswer(AgentBody):
    """With those that the server adds."""

    model_config = ConfigDict(extra="forbid", strict=False)

    id: UUID
    created_at: str
    updated_at: str
    version: int


class Pagination(BaseModel):
    """Where a page is."""

    page: int
    per_page: int
    total: int


class AgentPage(BaseModel):
    """A page."""

    data: list[AgentAnswer]
    pagination: Pagination


class Written:
    """What a create writes: the resource's document, its event's envelope, and what stands beside them."""

    __slots__ = ("document", "envelope", "event_id", "fields", "id", "now", "search")

    def __init__(self, body: AgentBody) -> None:
        self.id, self.event_id, self.now = new_id(), new_id(), datetime.now(UTC)
        time = self.now.isoformat(timespec="microseconds").replace("+00:00", "Z")
        self.fields = body.model_dump(mode="json")
        self.document = orjson.dumps(
            {"id": str(self.id), **self.fields, "created_at": time, "updated_at": time, "version": 1}
        ).decode()
        self.envelope = (
            f'{{"id":"{self.event_id}","type":"agent.created","source":"/v2/agents","subject":"agents/{self.id}",'
            f'"time":"{time}","data":{self.document}}}'
        )
        self.search = f"{body.name}\n{body.type}\n{orjson.dumps(body.metadata).decode()}".casefold()
