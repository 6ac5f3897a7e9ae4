"""Relationships between twins, as a twin carries them."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from handlers.resources.models import KeptMetadata, Slug

MOST_RELATIONSHIPS = 1_000


class Relationship(BaseModel):
    """That a twin is `name` of `target`, another twin of the organisation, such as `contains` or `feeds`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Slug
    target: UUID = Field(strict=False)
    metadata: KeptMetadata = Field(default_factory=dict[str, Any])
