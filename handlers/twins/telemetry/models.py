"""Telemetry as clients write it and as it is answered."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from handlers.events.custom import Happened
from handlers.lists.models import Names
from handlers.resources.models import Body, GetInput
from handlers.resources.shown import EXAMPLE_ID

MOST_POINTS = 10_000
# Of one request for what was measured.
MOST_QUERIED, MOST_BUCKETS = 10, 1_000
# Sums of an hour's points stay finite.
LARGEST = 1e300
_EXAMPLE: dict[str, JsonValue] = {"metric": "temperature", "value": 21.5}


# As Slug, by the validator's own machine: there are ten thousand in a request.
Metric = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]


class Point(Body):
    """A number that was measured; `time` is when, else now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    metric: Metric
    value: Number
    time: Happened | None = None


class PointOfTwin(Point):
    """A point of one of many twins."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"twin_id": EXAMPLE_ID, **_EXAMPLE}]})

    twin_id: Annotated[UUID, Field(strict=False)]


class Points(Body):
    """Up to 10,000 points of one twin, of which all are kept or none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"points": [_EXAMPLE]}]})

    points: Annotated[list[Point], Field(min_length=1, max_length=MOST_POINTS)]


class AppendTelemetry(Points):
    """The same, of the twin `id`."""

    id: str


class AppendMany(Body):
    """Up to 10,000 points of any twins, of which all are kept or none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"points": [{"twin_id": EXAMPLE_ID, **_EXAMPLE}]}]})

    points: Annotated[list[PointOfTwin], Field(min_length=1, max_length=MOST_POINTS)]


class Stored(BaseModel):
    """How many points are kept from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"stored": 1}]})

    stored: int


Step = Literal["1s", "1m", "1h", "auto"]


def _are_few(names: list[str]) -> list[str]:
    if not 1 <= len(names) <= MOST_QUERIED:
        raise ValueError(f"1 to {MOST_QUERIED} metrics")
    return names


class QueryTelemetry(GetInput):
    """What some metrics were from `from` up to, not including, `to`: else the first ten by name, and the last hour.

    `points` is how many there are of each at most: where `step` is `auto`, as many seconds, minutes or hours make one as it takes.
    """

    metric: Annotated[Names, AfterValidator(_are_few)] | None = None
    from_: Happened | None = Field(None, alias="from")
    to: Happened | None = None
    step: Step = "auto"
    points: int = Field(500, ge=2, le=MOST_BUCKETS)


class Bucket(BaseModel):
    """What a metric was in the `step_seconds` from `time` on: how many points, their mean, least, greatest, and last."""

    time: datetime
    count: int
    avg: float
    min: float
    max: float
    last: float


class Measurements(BaseModel):
    """Buckets by metric, oldest first, those without points left out; each begins at a multiple of `step_seconds` since 1970."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "twin_id": EXAMPLE_ID,
                    "from": "2026-01-01T12:00:00.000000Z",
                    "to": "2026-01-01T13:00:00.000000Z",
                    "step_seconds": 60,
                    "series": {
                        "temperature": [
                            {
                                "time": "2026-01-01T12:00:00.000000Z",
                                "count": 2,
                                "avg": 21.0,
                                "min": 20.5,
                                "max": 21.5,
                                "last": 21.5,
                            }
                        ]
                    },
                }
            ]
        },
    )

    twin_id: UUID
    from_: datetime = Field(alias="from")
    to: datetime
    step_seconds: int
    series: dict[str, list[Bucket]]


class Value(BaseModel):
    """A metric's newest point."""

    value: float
    time: datetime


class Latest(BaseModel):
    """The newest point of each metric."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "twin_id": EXAMPLE_ID,
                    "metrics": {"temperature": {"value": 21.5, "time": "2026-01-01T12:00:00.000000Z"}},
                }
            ]
        }
    )

    twin_id: UUID
    metrics: dict[str, Value]


class ListAlerts(GetInput):
    """The rules of a twin and where they stand; `status` leaves those of one."""

    status: Literal["clear", "pending", "raised"] | None = None
    page: int = Field(1, ge=1, le=1_000)
    per_page: int = Field(20, ge=1, le=100)


class Alert(BaseModel):
    """A rule by its name, and where it stands: `since` when, and by which `value`; None of what was never raised."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "too_hot",
                    "status": "raised",
                    "metric": "temperature",
                    "when": "above",
                    "threshold": 80.0,
                    "hysteresis": 5.0,
                    "hold": 0.0,
                    "severity": "critical",
                    "since": "2026-01-01T12:00:00.000000Z",
                    "value": 81.5,
                }
            ]
        }
    )

    id: str
    status: Literal["clear", "pending", "raised"]
    metric: str
    when: Literal["above", "below"]
    threshold: float
    hysteresis: float
    hold: float
    severity: Literal["info", "warning", "critical"]
    since: datetime | None
    value: float | None


def frame_of(data: Any) -> dict[str, Any]:
    """Return what a client has published, as the fields of Points: `{"points": [...]}`, or `{metric: value, ...}`, measured now."""
    if not isinstance(data, dict):
        return {"points": data}
    if isinstance(data.get("points"), list):
        return data
    return {"points": [{"metric": metric, "value": value} for metric, value in data.items()]}
