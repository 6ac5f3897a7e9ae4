"""A digital twin as clients write it."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from handlers.resources.models import Body, Metadata, Name, Slug, Text
from handlers.twins.simulation.model import Model
from handlers.twins.simulation.own import MOST_SCENARIOS, OwnScenario
from handlers.twins.state.models import MOST_RELATIONSHIPS, Relationship
from handlers.twins.state.relating import check_single
from handlers.twins.state.schema import check_data
from handlers.twins.sync.models import HttpSource, Schedule
from handlers.twins.telemetry.rules import MOST_RULES, Rule, check_names


class TwinBody(Body):
    """A twin: `data` is its state, any JSON, checked by `data_schema`; `source` is where it comes from, `sync_schedule` how often.

    `data_source` is a name for people. `model` is what is simulated, `scenarios` are its own, `rules` watch its telemetry.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Business Operations Twin",
                    "type": "erp_system",
                    "data": {"orders": 120, "stock": {"widgets": 42}},
                    "desired": {"reorder_at": 40},
                    "reported": {"reorder_at": 25},
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
    data_schema: dict[str, Any] | None = None
    desired: dict[str, Any] | None = None
    reported: dict[str, Any] | None = None
    relationships: Annotated[list[Relationship], Field(max_length=MOST_RELATIONSHIPS)] = Field(
        default_factory=list[Relationship]
    )
    rules: Annotated[list[Rule], Field(max_length=MOST_RULES)] = Field(default_factory=list[Rule])
    model: Model | None = None
    scenarios: Annotated[dict[Slug, OwnScenario], Field(max_length=MOST_SCENARIOS)] = Field(
        default_factory=dict[str, OwnScenario]
    )
    source: HttpSource | None = None
    sync_schedule: Schedule | None = None
    metadata: Metadata = Field(default_factory=dict[str, Any])

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        # Wherever a twin is made: these raise HubError, which pydantic lets pass.
        if self.data_schema is not None:
            check_data(self.data_schema, self.data)
        check_single(self.relationships)
        check_names(self.rules)
        return self
