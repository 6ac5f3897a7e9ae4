"""Simulations as clients ask for them and see them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from handlers.lists.models import Sorted, Word
from handlers.resources.models import GetInput, Slug
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

Status = Literal["queued", "running", "completed", "failed", "cancelled"]
ENDED = ("completed", "failed", "cancelled")
SIMULATION_ID = "01978f3e-5a74-7c3d-9b42-6f0d2c1e8a55"
LONGEST_HORIZON = 100_000
MOST_RUNS = 1_000
# Whole numbers up to here are the same in every language's JSON.
LARGEST_SEED = 2**53 - 1
USUAL_RUNS, USUAL_SECONDS = 30, 300.0

_SUMMARY: dict[str, JsonValue] = {
    "indicators": {
        "profit": {
            "unit": "money",
            "mean": 2412.5,
            "low": 2370.1,
            "high": 2454.9,
            "baseline": {"mean": 2150.2, "low": 2112.4, "high": 2188.0},
            "change": {"mean": 262.3, "low": 241.7, "high": 282.9},
        }
    },
    "findings": ["Profit is 2412.5 money (baseline 2150.2)."],
}
_HEAD: dict[str, JsonValue] = {
    "id": SIMULATION_ID,
    "twin_id": EXAMPLE_ID,
    "branch_id": None,
    "status": "completed",
    "twin_version": 1,
    "scenario": "demand_spike",
    "parameters": {"increase_percentage": 30.0, "begin": 60.0, "length": 18.0, "nodes": None},
    "horizon": 180,
    "time_unit": "day",
    "runs": 30,
    "seed": 42,
    "progress": {"done": 60, "total": 60},
    "summary": _SUMMARY,
    "notes": [],
    "error": None,
    "attempt": 1,
    "created_by": "key:01978f3e-5a75-7c3d-9b42-6f0d2c1e8a55",
    "created_at": EXAMPLE_TIME,
    "started_at": EXAMPLE_TIME,
    "completed_at": EXAMPLE_TIME,
    "deadline_at": "2026-01-01T12:05:00.000000Z",
    "version": 3,
}
_WHOLE: dict[str, JsonValue] = {
    **_HEAD,
    "horizon": 180.0,
    "series": {
        "time_unit": "day",
        "times": [0.0, 90.0, 180.0],
        "changes": [{"begin": 60.0, "end": 78.0}],
        "main": None,
        "indicators": {},
    },
    "baseline": None,
    "notable": [],
}


class Wanted(BaseModel):
    """What is simulated: a scenario, which `scenarios` lists, with its parameters.

    `runs` draws are made, each with its own chance; one `seed` (drawn where none is given) gives one result. `baseline`: the same
    without the scenario, to compare with. It ends as failed after `deadline` seconds.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"scenario": "demand_spike", "parameters": {"increase_percentage": 30}, "seed": 42}]
        },
    )

    scenario: Slug
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    horizon: Annotated[float, Field(gt=0, le=LONGEST_HORIZON, allow_inf_nan=False)] | None = None
    runs: int = Field(USUAL_RUNS, ge=1, le=MOST_RUNS)
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = None
    baseline: bool = True
    deadline: float = Field(USUAL_SECONDS, ge=1, le=3_600, allow_inf_nan=False)


class Simulate(Wanted):
    """A twin or a branch, and what is simulated of it."""

    id: Annotated[str, StringConstraints(max_length=200)]


class Progress(BaseModel):
    """How many runs have been done, those of the baseline too; another attempt begins anew."""

    done: int = Field(ge=0)
    total: int = Field(ge=1)


class SimulationError(BaseModel):
    """Why it failed: a code of the catalogue, and what it means here."""

    code: str
    message: str


class SimulationHead(BaseModel):
    """A simulation as lists and events have it: without series and notable events.

    `twin_version` is that of the document that was simulated: the branch's, where there is one. `summary` has no ids and no times.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_HEAD]})

    id: UUID
    twin_id: UUID
    branch_id: UUID | None
    status: Status
    twin_version: int
    scenario: str
    parameters: dict[str, Any]
    horizon: float
    time_unit: str
    runs: int
    seed: int
    progress: Progress
    summary: dict[str, Any] | None
    notes: list[str]
    error: SimulationError | None
    attempt: int = Field(ge=0)
    created_by: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime
    version: int = Field(ge=1)


class Simulation(SimulationHead):
    """A simulation, and what it came to: `series` over simulated time, those of the `baseline`, `notable` events."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WHOLE]})

    series: dict[str, Any] | None
    baseline: dict[str, Any] | None
    notable: list[dict[str, Any]] | None


class ListSimulations(Sorted):
    """A page of simulations, newest first; of one twin, in one status, of one scenario."""

    twin_id: str | None = None
    status: Status | None = None
    scenario: Word | None = None


class ListOfTwin(Sorted):
    """A page of a twin's simulations, newest first."""

    id: str
    status: Status | None = None
    scenario: Word | None = None


class ListScenarios(GetInput):
    """A page of what can be simulated of a twin."""

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(100, ge=1, le=100)


class Scenario(BaseModel):
    """What can be simulated: `parameters` is the JSON Schema of what it takes. `own`: the twin brings it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "demand_spike",
                    "name": "demand_spike",
                    "description": "Customers want more for a time",
                    "own": False,
                    "parameters": {
                        "type": "object",
                        "properties": {"increase_percentage": {"type": "number", "default": 30}},
                    },
                }
            ]
        }
    )

    id: str
    name: str
    description: str
    own: bool
    parameters: dict[str, Any]


class PlotInput(GetInput):
    """A simulation, and which of its series is drawn; None: the one that differs most from the baseline's."""

    indicator: Word | None = None


class Plot(BaseModel):
    """A picture of what a simulation came to."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": SIMULATION_ID, "svg": '<svg xmlns="http://www.w3.org/2000/svg"></svg>'}]}
    )

    id: UUID
    svg: str
