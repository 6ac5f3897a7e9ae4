"""Scenarios that a twin brings with it."""

from typing import Annotated, Any

from pydantic import Field

from handlers.twins.simulation.model import MOST_NODES, Changed, Expression, Finite, NodeName, NotNegative, Part

MOST_SCENARIOS = 50


class Parameter(Part):
    """What who runs the scenario may say."""

    default: Finite
    minimum: Finite | None = None
    maximum: Finite | None = None


class OwnChange(Part):
    """As a Change, whose values may be expressions of the parameters."""

    node: NodeName
    what: Changed
    factor: NotNegative | Expression
    begin: NotNegative | Expression = 0
    end: NotNegative | Expression | None = None


class OwnScenario(Part):
    """Changes at times, and a JSON Merge Patch of the model."""

    description: Annotated[str, Field(max_length=2000)] = ""
    parameters: Annotated[dict[NodeName, Parameter], Field(max_length=50)] = Field(default_factory=dict)
    changes: Annotated[tuple[OwnChange, ...], Field(max_length=MOST_NODES, strict=False)] = ()
    patch: dict[str, Any] = Field(default_factory=dict)
