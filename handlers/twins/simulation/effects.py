"""What scenarios are made of: parameters, the nodes that they are of, the times at which they hold."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from core.errors import Detail, HubError
from handlers.twins.simulation.checks import changeable
from handlers.twins.simulation.model import (
    MOST_NODES,
    Change,
    Changed,
    Flows,
    Model,
    Network,
    NodeName,
    NotNegative,
    Part,
    Positive,
)

MOST_FACTOR = 1_000
Names = Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=MOST_NODES, strict=False)]
Percentage = Annotated[float, Field(allow_inf_nan=False, ge=-100, le=100 * MOST_FACTOR)]
Factor = Annotated[float, Field(allow_inf_nan=False, ge=0, le=MOST_FACTOR)]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a scenario comes to: the model it runs, the changes at times, its parameters with what was not given filled in."""

    model: Model
    changes: tuple[Change, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])


def wrong(name: str, code: str, message: str) -> HubError:
    """Return the refusal of one parameter; without a `field`, of the scenario itself."""
    return HubError("VALIDATION_ERROR", details=[Detail(f"parameters.{name}" if name else "scenario", code, message)])


def short(value: float) -> float:
    """Return `value` as people write it, with six digits."""
    return float(f"{value:.6g}")


class Parameters(Part):
    """What a scenario is told, in JSON."""

    @classmethod
    def fields(cls, model: Model) -> dict[str, dict[str, Any]]:
        """Return what the JSON Schema of each parameter says besides, for this model."""
        del model
        return {}

    @classmethod
    def suits(cls, model: Model) -> bool:
        """Tell whether there is anything in `model` that it could be of."""
        del model
        return True


class Scenario(Parameters):
    """Parameters that say all. `effect` raises HubError VALIDATION_ERROR where the model has not what it is of."""

    @abstractmethod
    def effect(self, model: Model) -> Effect:
        """Return what it does to `model`."""


class Timed(Scenario):
    """Something that is otherwise from `begin` for `length`."""

    begin: NotNegative | None = None
    length: Positive | None = None
    # Of the horizon, where no length is given. None: to its end.
    share: ClassVar[float | None] = None

    def window(self, horizon: float) -> tuple[float, float | None]:
        """Return its begin and end; raises HubError where it begins when all is over."""
        begin = short(horizon / 3) if self.begin is None else self.begin
        if begin >= horizon:
            raise wrong("begin", "VALUE_OUT_OF_RANGE", f"Below the horizon, which is {horizon:g}")
        length = self.length or (short(horizon * self.share) if self.share else None)
        return begin, None if length is None else short(begin + length)

    def at_times(self, model: Model, changes: Sequence[tuple[str, Changed, float]], **filled: Any) -> Effect:
        """Return the effect of these changes (node, what, factor) in the window."""
        begin, end = self.window(model.horizon)
        made = tuple(
            Change(node=node, what=what, factor=factor, begin=begin, end=end) for node, what, factor in changes
        )
        length = self.length if end is None else short(end - begin)
        given = self.model_dump(mode="json", exclude_none=True)
        return Effect(model, made, {**given, **filled, "begin": begin, "length": length})

    @classmethod
    def fields(cls, model: Model) -> dict[str, dict[str, Any]]:
        """Tell the times that are taken where none are given."""
        length = {"default": short(model.horizon * cls.share)} if cls.share else {}
        return {"begin": {"default": short(model.horizon / 3), "exclusiveMaximum": model.horizon}, "length": length}


class OfNodes(Timed):
    """A factor for some nodes, or for some parameters of flows."""

    nodes: Names | None = None
    # What changes; of flows, the words in names of parameters that are meant where none are named.
    what: ClassVar[Changed]
    words: ClassVar[tuple[str, ...]] = ()
    called: ClassVar[str] = ""

    @classmethod
    def usual(cls, network: Network) -> list[str]:
        """Return the nodes that are meant where none are named."""
        return cls.possible(network)

    @classmethod
    def possible(cls, model: Model) -> list[str]:
        """Return what `nodes` may name."""
        if isinstance(model, Flows):
            return list(model.parameters)
        return [name for name in model.nodes if cls.what in changeable(model, name)]

    @classmethod
    def suits(cls, model: Model) -> bool:
        """Tell whether any node may be named."""
        return bool(cls.possible(model))

    def chosen(self, model: Model) -> list[str]:
        """Return the nodes that are changed; raises HubError where there are none, or where a name is of another."""
        if self.nodes is None:
            return self._usual(model)
        possible = self.possible(model)
        for place, name in enumerate(self.nodes):
            if name not in possible:
                raise wrong(f"nodes[{place}]", "VALUE_OUT_OF_RANGE", f"One of: {_listed(possible)}")
        return list(dict.fromkeys(self.nodes))

    def _usual(self, model: Model) -> list[str]:
        if isinstance(model, Flows):
            found = [name for name in model.parameters if any(word in name.lower() for word in self.words)]
            missing = f"No parameter of the flows is called {self.called}: name those that are meant in nodes"
        else:
            found = self.usual(model)
            missing = f"The model has no {self.called} that could change"
        if not found:
            raise wrong("nodes" if isinstance(model, Flows) else "", "VALUE_OUT_OF_RANGE", missing)
        return found

    def multiplied(self, model: Model, factor: float) -> Effect:
        """Return the effect of `factor` on the chosen nodes."""
        chosen = self.chosen(model)
        what: Changed = "parameter" if isinstance(model, Flows) else self.what
        return self.at_times(model, [(name, what, factor) for name in chosen], nodes=chosen)

    @classmethod
    def fields(cls, model: Model) -> dict[str, dict[str, Any]]:
        """Tell the nodes that may be named too."""
        possible = cls.possible(model)
        return {**super().fields(model), "nodes": {"items": {"enum": possible}} if possible else {}}


class Multiplied(OfNodes):
    """By a percentage, or by a factor: 1 + percentage / 100."""

    percentage: Percentage | None = None
    factor: Factor | None = None
    usual_percentage: ClassVar[float] = 0

    @model_validator(mode="after")
    def _is_said_once(self) -> Self:
        if self.percentage is not None and self.factor is not None:
            raise ValueError("either percentage or factor")
        return self

    def times(self) -> float:
        """Return the factor that is meant."""
        if self.factor is not None:
            return self.factor
        return factor_of(self.usual_percentage if self.percentage is None else self.percentage)

    def multiplied(self, model: Model, factor: float) -> Effect:
        """Return the effect, whose parameters tell the factor."""
        found = super().multiplied(model, factor)
        return Effect(found.model, found.changes, {**found.parameters, "factor": short(factor)})

    @classmethod
    def fields(cls, model: Model) -> dict[str, dict[str, Any]]:
        """Tell the percentage that is taken where none is given."""
        return {**super().fields(model), "percentage": {"default": cls.usual_percentage}}


def factor_of(percentage: float) -> float:
    """Return what a percentage multiplies by."""
    return short(1 + percentage / 100)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20]) or "none"
    return f"{shown}, ..." if len(names) > 20 else shown


def enumerated(model: Model, kind: type[Part]) -> dict[str, Any]:
    """Return what JSON Schema says of a name of such a node."""
    names = [name for name, node in model.nodes.items() if isinstance(node, kind)] if isinstance(model, Network) else []
    return {"enum": names} if names else {}


def network_of(model: Model, what: str) -> Network:
    """Return `model` if it is a network; raises HubError for flows, which have none of `what`."""
    if isinstance(model, Flows):
        raise wrong("", "VALUE_OUT_OF_RANGE", f"Flows have no {what}: change the model's parameters by what_if")
    return model


def one_of(network: Network, name: str | None, field: str, kind: type[Part]) -> str:
    """Return the node of that kind called `name`, or the only one; raises HubError where it is not clear which."""
    names = [each for each, node in network.nodes.items() if isinstance(node, kind)]
    if name is None and len(names) == 1:
        return names[0]
    if not names:
        raise wrong("", "VALUE_OUT_OF_RANGE", f"The model has no {field}")
    if name is None:
        raise wrong(field, "MISSING_REQUIRED_FIELD", f"One of: {_listed(names)}")
    if name not in names:
        raise wrong(field, "VALUE_OUT_OF_RANGE", f"One of: {_listed(names)}")
    return name
