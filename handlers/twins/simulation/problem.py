"""What is wrong with a model, and where."""

from dataclasses import dataclass
from typing import Literal

# Of the details that an answer has.
ProblemCode = Literal["INVALID_FORMAT", "MISSING_REQUIRED_FIELD", "VALUE_OUT_OF_RANGE"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing: its place such as `nodes.warehouse.source`, a code of details, and what a person is told."""

    place: str
    code: ProblemCode
    message: str
