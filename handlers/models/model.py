"""What a language model is to the rest: messages and tools go in, text and calls of tools come out as they are written. No I/O.

ModelError     it gave no whole answer; the message is for the log and the organisation, and has no secret
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, Protocol

# How the result of a tool that has failed begins, as models read it.
FAILED = "Error: "


class ModelError(Exception):
    """A model that did not answer, or not to the end. `is_final`: what was asked is at fault, so asking again is of no use.

    `is_unfit`: it has no answer of the schema that was asked for.
    """

    def __init__(self, message: str, *, is_final: bool = False, is_unfit: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final
        self.is_unfit = is_unfit


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model asks for a tool: `arguments` is JSON text as it wrote it, so it may be broken."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """What is said to a model, and by whom. An assistant's may have `calls`; a tool's answers the call `call_id`.

    `is_correction`: no person says it; it tells what is wrong with the answer before it.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    is_correction: bool = False


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is told of it; `parameters` is the JSON Schema of its arguments, an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One turn. `schema`: the text is to be JSON of this schema, of an object; whether it is, who asks has to look."""

    messages: Sequence[Message]
    most_tokens: int
    tools: Sequence[ToolSpec] = ()
    temperature: float | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a turn; it is the last, and comes once. `reason` "calls": the model waits for its calls' results.

    "length": it was cut at `most_tokens`, and calls that it may have begun are left out. Tokens are None where the provider does
    not tell them. `model` is the one that wrote it.
    """

    reason: Literal["stop", "length", "calls"]
    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None


# Deltas as they are written, whole calls behind them, then Finished.
Written = Delta | ToolCall | Finished


class Model(Protocol):
    """Writes text, and asks for tools."""

    @property
    def name(self) -> str:
        """The model's name, as the hub's settings have it."""
        ...

    def respond(self, request: Request) -> AsyncGenerator[Written]:
        """Yield a turn as it is written. Raises ModelError, also in its middle."""
        ...

    def write(self, messages: Sequence[Message], *, most_tokens: int) -> AsyncGenerator[str]:
        """Yield the text of a turn without tools as it is written. Raises ModelError, also in its middle."""
        ...


async def text_of(turn: AsyncGenerator[Written]) -> AsyncGenerator[str]:
    """Yield the text of a turn, which is closed with it."""
    async with aclosing(turn):
        async for part in turn:
            if isinstance(part, Delta):
                yield part.text
