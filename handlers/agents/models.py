"""An agent as clients write it."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import ConfigDict, Field

from handlers.resources.models import Body, Metadata, Name, Slug


class AgentBody(Body):
    """An agent: `capabilities` name what it can do, `knowledge` the bases that it answers from (empty: all)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Customer Support Agent",
                    "type": "assistant",
                    "capabilities": ["text_processing", "knowledge_query"],
                    "metadata": {"team": "support"},
                }
            ]
        }
    )

    name: Name
    type: Slug = "assistant"
    status: Slug = "active"
    capabilities: list[Slug] = Field(default=[], max_length=100)
    knowledge: list[Annotated[UUID, Field(strict=False)]] = Field(default=[], max_length=100)
    config: dict[str, Any] = Field(default_factory=dict[str, Any])
    metadata: Metadata = Field(default_factory=dict[str, Any])
