"""The types of events that simulations have."""

from pydantic import JsonValue

from core.events.catalogue import EventType
from handlers.resources.shown import example_of
from handlers.twins.simulations.models import SimulationHead


def _of_simulation(what: str, says: str, **changed: JsonValue) -> EventType:
    schema = SimulationHead.model_json_schema(mode="serialization")
    example = {**example_of(SimulationHead), **changed}
    return EventType(f"twin.simulation.{what}", says, "simulations/<id>", schema, example)


_OPEN: dict[str, JsonValue] = {"status": "running", "summary": None, "completed_at": None}
SIMULATIONS = (
    _of_simulation("started", "A simulation has begun", progress={"done": 0, "total": 60}, **_OPEN),
    _of_simulation(
        "progress", "Another tenth of a simulation's runs is done", progress={"done": 30, "total": 60}, **_OPEN
    ),
    _of_simulation("completed", "A simulation has come to its result; its series are asked for"),
    _of_simulation(
        "failed",
        "A simulation has no result; the error tells why",
        status="failed",
        summary=None,
        error={"code": "TIMEOUT", "message": "It was not done by its deadline"},
    ),
    _of_simulation("cancelled", "A simulation was cancelled", status="cancelled", summary=None),
)
