"""A digital twin as clients write it."""

from typing import Any

from pydantic import ConfigDict, Field

from handlers.resources.models import Body, Metadata, Name, Slug, Text


class TwinBody(Body):
    """A twin: `data` is its state, any JSON; `data_source` and `sync_schedule` say where it comes from and how often."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Business Operations Twin",
                    "type": "erp_system",
                    "data": {"orders": 120, "stock": {"widgets": 42}},
                    "sync_schedule": "hourly",
                }
            ]
        }
    )

    name: Name
    type: Slug = "generic"
    status: Slug = "active"
    data_source: Text | None = None
    data: Any = None
    sync_schedule: Text | None = None
    metadata: Metadata = Field(default_factory=dict[str, Any])
