"""From a twin, the name of a scenario and its parameters to what is run: a case, and the baseline beside it. Pure."""

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from core.errors import Detail, HubError
from core.operations.validation import invalid
from handlers.twins.simulation.checks import problems
from handlers.twins.simulation.derived import Modelled, modelled
from handlers.twins.simulation.effects import Effect, Parameters, Scenario, wrong
from handlers.twins.simulation.model import MOST_HORIZON, Case, Model, Part
from handlers.twins.simulation.own import OwnScenario
from handlers.twins.simulation.own_effects import effect_of, schema_of
from handlers.twins.simulation.standard import STANDARD
from handlers.twins.simulation.what_if import WhatIf

KNOWN: Mapping[str, type[Scenario | WhatIf]] = {**STANDARD, "what_if": WhatIf}
_OWN: TypeAdapter[dict[str, OwnScenario]] = TypeAdapter(dict[str, OwnScenario])


class Built(Part):
    """What is run: `parameters` with what was not given filled in, `notes` of what was assumed."""

    scenario: str
    parameters: dict[str, Any]
    case: Case
    baseline: Case
    notes: tuple[str, ...] = ()

    @property
    def horizon(self) -> float:
        """Until when both are run."""
        return self.case.model.horizon


class Listed(BaseModel):
    """A scenario that a twin can run. `parameters` is a JSON Schema; `own`: the twin's."""

    model_config = ConfigDict(frozen=True)

    name: str
    own: bool
    description: str
    parameters: dict[str, Any]


def built(
    document: Mapping[str, Any], scenario: str, parameters: Mapping[str, Any], *, horizon: float | None = None
) -> Built:
    """Return what is run of a twin's `document` to its `horizon`, else the model's.

    Raises HubError VALIDATION_ERROR: fields are `scenario`, `horizon`, `parameters.<name>`, and `model...` where the twin's own
    model is wrong. A scenario of the twin's own goes before another of the same name.
    """
    base = _to_horizon(modelled(document), horizon)
    _check(base.model, "model")
    effect, notes, place = _effect(document, base, scenario, parameters)
    if effect.model is not base.model:
        _check(effect.model, place)
    return Built(
        scenario=scenario,
        parameters=effect.parameters,
        case=Case(model=effect.model, changes=effect.changes),
        baseline=Case(model=base.model),
        notes=(*base.notes, *notes),
    )


def listed(document: Mapping[str, Any]) -> list[Listed]:
    """Return the scenarios that can be run on a twin, its own first; raises HubError VALIDATION_ERROR as `built` does."""
    model = modelled(document).model
    own = _own_of(document)
    found = [
        Listed(name=name, own=True, description=each.description, parameters=schema_of(each))
        for name, each in own.items()
    ]
    for name, kind in KNOWN.items():
        if name not in own and kind.suits(model):
            parameters = _schema(kind, model)
            found.append(Listed(name=name, own=False, description=inspect.getdoc(kind) or "", parameters=parameters))
    return found


def _to_horizon(base: Modelled, horizon: float | None) -> Modelled:
    if horizon is None:
        return base
    if not 0 < horizon <= MOST_HORIZON:
        message = f"Above 0, at most {MOST_HORIZON:,}"
        raise HubError("VALIDATION_ERROR", details=[Detail("horizon", "VALUE_OUT_OF_RANGE", message)])
    return Modelled(base.model.model_copy(update={"horizon": float(horizon)}), base.origin, base.notes)


def _effect(
    document: Mapping[str, Any], base: Modelled, name: str, parameters: Mapping[str, Any]
) -> tuple[Effect, list[str], str]:
    """Return the effect, notes, and where the model comes from that it runs."""
    own = _own_of(document)
    if name in own:
        return effect_of(name, own[name], base.model, parameters), [], f"scenarios.{name}.patch"
    if name not in KNOWN:
        known = ", ".join((*own, *KNOWN))
        raise wrong("", "VALUE_OUT_OF_RANGE", f"One of: {known}")
    try:
        asked = KNOWN[name].model_validate(dict(parameters))
    except ValidationError as error:
        raise invalid(parameters, error, "parameters") from error
    if isinstance(asked, Scenario):
        return asked.effect(base.model), [], "parameters"
    return *asked.effect_on(document, base), "parameters.patch.model"


def _own_of(document: Mapping[str, Any]) -> dict[str, OwnScenario]:
    own = document.get("scenarios") or {}
    try:
        return _OWN.validate_python(own)
    except ValidationError as error:
        raise invalid(own, error, "scenarios") from error


def _check(model: Model, place: str) -> None:
    found = [Detail(f"{place}.{each.place}", each.code, each.message) for each in problems(model)]
    if found:
        raise HubError("VALIDATION_ERROR", details=found)


def _schema(kind: type[Parameters], model: Model) -> dict[str, Any]:
    schema = kind.model_json_schema()
    for word in ("title", "description"):
        schema.pop(word, None)
    more = kind.fields(model)
    schema["properties"] = {
        name: _told(told, more.get(name, {})) for name, told in schema.get("properties", {}).items()
    }
    return schema


def _told(told: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of one parameter; of one that may be null, what else it may be."""
    options = [each for each in told.get("anyOf", ()) if each != {"type": "null"}]
    plain = options[0] if len(options) == 1 else told
    kept = {
        name: value
        for name, value in {**told, **plain}.items()
        if name not in ("anyOf", "title") or value is plain.get(name)
    }
    kept.pop("title", None)
    if kept.get("default", 0) is None:
        kept.pop("default")
    items = {**kept["items"], **more["items"]} if "items" in more else kept.get("items")
    return {**kept, **more, **({"items": items} if items else {})}
