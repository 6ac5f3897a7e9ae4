"""What scenarios that a twin brings with it come to.

Their expressions may say their parameters and `horizon`, and are of the same language as those of flows (expressions.py).
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from core.errors import Detail, HubError
from core.operations.validation import invalid
from handlers.twins.simulation.checks import problems_of_changes
from handlers.twins.simulation.effects import Effect, wrong
from handlers.twins.simulation.expressions import ExpressionError, compiled
from handlers.twins.simulation.model import Case, Change, Model
from handlers.twins.simulation.own import OwnChange, OwnScenario, Parameter
from handlers.twins.simulation.replication import SimulationError
from handlers.twins.simulation.what_if import patched

# `changes.0.node` is told as `changes[0].node`.
_INDEX, _AS_FIELDS = re.compile(r"\.([0-9]+)"), r"[\1]"


def schema_of(scenario: OwnScenario) -> dict[str, Any]:
    """Return the JSON Schema of its parameters."""
    told = {name: _bounds(parameter) for name, parameter in scenario.parameters.items()}
    return {"type": "object", "properties": told, "additionalProperties": False}


def effect_of(name: str, scenario: OwnScenario, model: Model, parameters: Mapping[str, Any]) -> Effect:
    """Return what `scenario`, called `name`, does to `model`.

    Raises HubError VALIDATION_ERROR: fields are `parameters.<name>`, or places in `scenarios.<name>`.
    """
    values = _values(scenario, parameters)
    place = f"scenarios.{name}"
    changed = patched(model, scenario.patch, f"{place}.patch") if scenario.patch else model
    changed = changed.model_copy(update={"horizon": model.horizon})
    known = {**values, "horizon": model.horizon}
    changes = [_change(each, f"{place}.changes[{at}]", known) for at, each in enumerate(scenario.changes)]
    _check_changes(Case(model=changed, changes=tuple(changes)), place)
    return Effect(changed if scenario.patch else model, tuple(changes), dict(values))


def problems_alone(name: str, scenario: OwnScenario) -> Iterator[Detail]:
    """Yield what is wrong with a scenario on whatever model: defaults beyond their bounds, expressions that cannot be read."""
    place = f"scenarios.{name}"
    for parameter, each in scenario.parameters.items():
        try:
            _value(parameter, each, each.default)
        except HubError as error:
            found = f"{place}.parameters.{parameter}.default"
            yield from (Detail(found, detail.code, detail.message) for detail in error.details)
    known = [*scenario.parameters, "horizon"]
    for at, change in enumerate(scenario.changes):
        written = {"factor": change.factor, "begin": change.begin, "end": change.end}
        for field, text in written.items():
            if isinstance(text, str) and (wrong := _unread(text, known)):
                yield Detail(f"{place}.changes[{at}].{field}", "INVALID_FORMAT", wrong)


def _unread(text: str, known: Sequence[str]) -> str | None:
    """Return why an expression cannot be read, None where it can."""
    try:
        compiled(text, known)
    except ExpressionError as error:
        return str(error)
    return None


def _check_changes(case: Case, place: str) -> None:
    found = [Detail(_place(place, each.place), each.code, each.message) for each in problems_of_changes(case)]
    if found:
        raise HubError("VALIDATION_ERROR", details=found)


def _place(place: str, below: str) -> str:
    return f"{place}.{_INDEX.sub(_AS_FIELDS, below)}"


def _bounds(parameter: Parameter) -> dict[str, Any]:
    told = {"minimum": parameter.minimum, "maximum": parameter.maximum}
    given = {word: value for word, value in told.items() if value is not None}
    return {"type": "number", "default": parameter.default, **given}


def _values(scenario: OwnScenario, parameters: Mapping[str, Any]) -> dict[str, float]:
    for name in parameters:
        if name not in scenario.parameters:
            known = ", ".join(scenario.parameters) or "none"
            raise wrong(name, "INVALID_FORMAT", f"No such parameter: there are {known}")
    return {name: _value(name, each, parameters.get(name, each.default)) for name, each in scenario.parameters.items()}


def _value(name: str, parameter: Parameter, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise wrong(name, "INVALID_FORMAT", "Input should be a valid number")
    low = -math.inf if parameter.minimum is None else parameter.minimum
    high = math.inf if parameter.maximum is None else parameter.maximum
    if not max(low, -1e12) <= value <= min(high, 1e12):
        raise wrong(name, "VALUE_OUT_OF_RANGE", f"{low:g} to {high:g}")
    return float(value)


def _change(change: OwnChange, place: str, known: Mapping[str, float]) -> Change:
    factor = _number(change.factor, f"{place}.factor", known)
    begin = _number(change.begin, f"{place}.begin", known)
    end = None if change.end is None else _number(change.end, f"{place}.end", known)
    made = {"node": change.node, "what": change.what, "factor": factor, "begin": begin, "end": end}
    try:
        return Change.model_validate(made)
    except ValidationError as error:
        raise invalid(made, error, place) from error


def _number(value: float | str, place: str, known: Mapping[str, float]) -> float:
    if not isinstance(value, str):
        return value
    try:
        return compiled(value, list(known))(list(known.values()))
    except (ExpressionError, SimulationError) as error:
        raise _refused(place, str(error)) from error


def _refused(place: str, message: str) -> HubError:
    return HubError("VALIDATION_ERROR", details=[Detail(place, "INVALID_FORMAT", message)])
