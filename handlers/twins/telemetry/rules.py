"""Rules of a twin: what of its telemetry is an alert."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from core.errors import Detail, HubError
from handlers.resources.models import Slug

MOST_RULES = 50


class Rule(BaseModel):
    """An alert is raised where `metric` is `above` or `below` `threshold` for `hold` seconds, and cleared where it is back by
    `hysteresis`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Slug
    metric: Slug
    when: Literal["above", "below"]
    threshold: float = Field(allow_inf_nan=False)
    hysteresis: float = Field(default=0, ge=0, allow_inf_nan=False)
    hold: float = Field(default=0, ge=0, le=86_400, allow_inf_nan=False)
    severity: Literal["info", "warning", "critical"] = "warning"


def check_names(rules: Sequence[Rule]) -> None:
    """Raise HubError VALIDATION_ERROR where two rules of a twin have one name: by that their alerts are known."""
    first = {rule.name: place for place, rule in reversed(list(enumerate(rules)))}
    twice = [place for place, rule in enumerate(rules) if first[rule.name] != place]
    if twice:
        message = "Another rule of the twin has this name"
        raise HubError(
            "VALIDATION_ERROR", details=[Detail(f"rules[{i}].name", "INVALID_FORMAT", message) for i in twice]
        )
