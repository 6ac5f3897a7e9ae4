"""What a language model is to the rest: messages go in, text comes out piece by piece. No I/O.

ModelError     it gave no text, or ended early; the message is for the log and the organisation, and has no secret
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


class ModelError(Exception):
    """A model that did not answer, or not to the end."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is said to a model, and by whom."""

    role: Literal["system", "user", "assistant"]
    content: str


class Model(Protocol):
    """Writes text."""

    @property
    def name(self) -> str:
        """The model's name, as its provider has it."""
        ...

    def write(self, messages: Sequence[Message], *, most_tokens: int) -> AsyncGenerator[str]:
        """Yield the text as it is written. Raises ModelError, also in its middle."""
        ...
