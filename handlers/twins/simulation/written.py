"""A twin's own model and scenarios as they are written: what could not be run is refused there, not when somebody runs it.

A scenario of a twin without a model meets whatever its data comes to on that day; so of that one it is checked what holds on any.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import Detail, HubError
from handlers.twins.simulation.checks import problems
from handlers.twins.simulation.model import Model
from handlers.twins.simulation.own import OwnScenario
from handlers.twins.simulation.own_effects import effect_of, problems_alone
from handlers.twins.simulation.problem import Problem


async def check_written(
    before: Mapping[str, Any] | None, model: Model | None, scenarios: Mapping[str, OwnScenario]
) -> None:
    """Raise HubError VALIDATION_ERROR with all that is wrong, at its places in `model` and `scenarios`.

    What the twin had `before` (as GET answers it) is not looked at again: data that comes each second costs nothing here.
    """
    if (model is None and not scenarios) or (before is not None and _is_as_before(before, model, scenarios)):
        return
    # In a thread: as many patches as there may be of as large a model as there may be take seconds.
    if found := await asyncio.to_thread(lambda: list(problems_of(model, scenarios))):
        raise HubError("VALIDATION_ERROR", details=found)


def problems_of(model: Model | None, scenarios: Mapping[str, OwnScenario]) -> Iterator[Detail]:
    """Yield what is wrong with a model and with each of its scenarios, with the defaults of its parameters."""
    of_model = [] if model is None else [_detail("model", each) for each in problems(model)]
    yield from of_model
    for name, scenario in scenarios.items():
        alone = list(problems_alone(name, scenario))
        yield from alone
        if model is not None and not of_model and not alone:
            yield from _on(model, name, scenario)


def _on(model: Model, name: str, scenario: OwnScenario) -> Iterator[Detail]:
    try:
        effect = effect_of(name, scenario, model, {})
    except HubError as error:
        yield from error.details
        return
    if effect.model is not model:
        yield from (_detail(f"scenarios.{name}.patch", each) for each in problems(effect.model))


def _is_as_before(before: Mapping[str, Any], model: Model | None, scenarios: Mapping[str, OwnScenario]) -> bool:
    was, written = before.get("model"), before.get("scenarios") or {}
    return was == (None if model is None else model.model_dump(mode="json")) and written == {
        name: each.model_dump(mode="json") for name, each in scenarios.items()
    }


def _detail(place: str, problem: Problem) -> Detail:
    return Detail(f"{place}.{problem.place}", problem.code, problem.message)
