"""What the log is told of alerts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict

from core.clock import rfc3339
from core.events.catalogue import EventType
from core.events.event import NewEvent, new_event
from core.ids import new_id
from handlers.resources.shown import EXAMPLE_ID, example_of
from handlers.twins.telemetry.rules import Rule

RAISED = "twin.alert.raised"
CLEARED = "twin.alert.cleared"
# Why an alert is cleared: the metric is back, the rule is another now, or there is none of its name.
Reason = Literal["back", "rule_changed", "rule_removed"]
_RULE = {"twin_id": EXAMPLE_ID, "rule": "too_hot", "metric": "temperature", "when": "above", "threshold": 80.0}
_POINT = {"time": "2026-01-01T12:00:00.000000Z", "value": 81.5}


class AlertRaised(BaseModel):
    """A rule of a twin is broken since `time`, by `value`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_RULE, "severity": "critical", **_POINT}]})

    twin_id: UUID
    rule: str
    metric: str
    when: Literal["above", "below"]
    threshold: float
    severity: Literal["info", "warning", "critical"]
    time: datetime
    value: float


class AlertCleared(AlertRaised):
    """It is broken no more; `value` is None where it was not a point that cleared it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{**_RULE, "severity": "critical", **_POINT, "value": 74.5, "reason": "back"}],
        }
    )

    value: float | None  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues] - it is only described
    reason: Reason


ALERTS = (
    EventType(
        RAISED,
        "A rule of a twin is broken by its telemetry",
        "twins/<id>",
        AlertRaised.model_json_schema(mode="serialization"),
        example_of(AlertRaised),
    ),
    EventType(
        CLEARED,
        "An alert is over: the metric is back, or the rule was changed or removed",
        "twins/<id>",
        AlertCleared.model_json_schema(mode="serialization"),
        example_of(AlertCleared),
    ),
)


def raised(twin_id: UUID, rule: Rule, time: datetime, value: float, now: datetime) -> NewEvent:
    """Return the event of an alert that a point has raised."""
    data = _text({**_of(twin_id, rule), "time": rfc3339(time), "value": value})
    return new_event(event_id=new_id(), type=RAISED, subject=f"twins/{twin_id}", time=now, data=data, short=None)


def cleared(twin_id: UUID, rule: Rule, time: datetime, value: float, now: datetime) -> NewEvent:
    """Return the event of an alert that a point has cleared."""
    data = _text({**_of(twin_id, rule), "time": rfc3339(time), "value": value, "reason": "back"})
    return new_event(event_id=new_id(), type=CLEARED, subject=f"twins/{twin_id}", time=now, data=data, short=None)


def cleared_by_change(twin_id: UUID, rule: Rule, reason: Reason, now: datetime) -> str:
    """Return the data of the event of an alert whose rule is no more what it was, as JSON."""
    return _text({**_of(twin_id, rule), "time": rfc3339(now), "value": None, "reason": reason})


def _of(twin_id: UUID, rule: Rule) -> dict[str, object]:
    return {
        "twin_id": str(twin_id),
        "rule": rule.name,
        "metric": rule.metric,
        "when": rule.when,
        "threshold": rule.threshold,
        "severity": rule.severity,
    }


def _text(data: Mapping[str, object]) -> str:
    return orjson.dumps(data).decode()
