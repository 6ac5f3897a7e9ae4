"""The scenario `what_if`: any change of the twin's document, and how such a patch meets a model."""

from collections.abc import Mapping
from typing import Any

from pydantic import field_validator

from handlers.resources.merge import merge_patch
from handlers.twins.simulation.derived import Modelled, derived, model_of
from handlers.twins.simulation.effects import Effect, Parameters, wrong
from handlers.twins.simulation.model import Model

PATCHED = ("data", "model")
# What tells which fields a part has: with another, those of the former are gone.
_KINDS = ("distribution", "engine", "kind", "policy")


class WhatIf(Parameters):
    """Any other model or data, from the beginning.

    `patch` is a JSON Merge Patch (RFC 7396) of `{"model": ..., "data": ...}`: model' = patch(model). A distribution, a policy
    or a node of another kind replaces the former whole. Where the twin has no model, the patch meets the one that is made of its
    data, or the sample; with `data` patched, a new one is made first.
    """

    patch: dict[str, Any]

    @field_validator("patch")
    @classmethod
    def _is_of_the_document(cls, patch: dict[str, Any]) -> dict[str, Any]:
        if not patch or set(patch) - set(PATCHED):
            raise ValueError("an object with model, data, or both")
        return patch

    def effect_on(self, document: Mapping[str, Any], base: Modelled) -> tuple[Effect, list[str]]:
        """Return the effect, and notes; raises HubError VALIDATION_ERROR whose fields begin with `parameters.patch`."""
        model, notes = self._of_data(document, base)
        if isinstance(self.patch.get("model"), dict) and "horizon" in self.patch["model"]:
            raise wrong("patch.model.horizon", "INVALID_FORMAT", "Of the request: else the baseline has another")
        if "model" in self.patch:
            model = patched(model, self.patch["model"], "parameters.patch.model")
        return Effect(model.model_copy(update={"horizon": base.model.horizon}), (), {"patch": self.patch}), notes

    def _of_data(self, document: Mapping[str, Any], base: Modelled) -> tuple[Model, list[str]]:
        if "data" not in self.patch:
            return base.model, []
        if base.origin == "model":
            return base.model, ["The twin has a model, so its data is not read: the patch of data changes nothing."]
        found = derived(merge_patch(document.get("data"), self.patch["data"]))
        if found is None:
            raise wrong("patch.data", "INVALID_FORMAT", "No model can be made of the data that the patch leads to")
        return found.model, [f"With the patch: {note}" for note in found.notes if note not in base.notes]


def patched(model: Model, patch: Any, place: str) -> Model:
    """Return the model that `patch` makes of it; raises HubError VALIDATION_ERROR whose fields begin with `place`."""
    return model_of(_merged(model.model_dump(mode="json"), patch), place)


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    known = dict(target) if isinstance(target, dict) and not _is_another(target, patch) else {}
    for name, value in patch.items():
        if value is None:
            known.pop(name, None)
        else:
            known[name] = _merged(known.get(name), value)
    return known


def _is_another(target: Mapping[str, Any], patch: Mapping[str, Any]) -> bool:
    return any(isinstance(patch.get(name), str) and patch[name] != target.get(name) for name in _KINDS)
