"""An answer of OpenAI's chat completions, put together out of the parts that come. No I/O.

Endpoints write what they like, so each part is looked at: what cannot be one is a ModelError, what is only sloppy is taken. Such
are calls without a number or an id, arguments that are an object, names that come again, and an end that gives no reason.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from handlers.models.model import Finished, ModelError, ToolCall

DONE = b"[DONE]"
MOST_CALLS = 64
LONGEST_ARGUMENTS = 256 * 1024


@dataclass(slots=True)
class _Begun:
    index: object
    id: str
    name: str = ""
    arguments: str = ""


class Reading:
    """One answer. `read` takes its parts in order; once `is_ended`, `calls` and `finished` tell the rest.

    `heard` grows with all that a model does: text, thoughts, calls.
    """

    def __init__(self, model: str, longest: int) -> None:
        self._model = model
        self._longest = longest
        self._length = 0
        self._calls: list[_Begun] = []
        self._reason: str | None = None
        self._used: tuple[int | None, int | None] = (None, None)
        self.is_done = False
        self.heard = 0

    @property
    def is_ended(self) -> bool:
        """Whether it is whole; only what was used may come then."""
        return self.is_done or self._reason is not None

    def read_all(self, parts: Sequence[bytes]) -> tuple[str, ModelError | None]:
        """Return the text of parts that came together, and what is wrong with the one that it ends before."""
        text = ""
        try:
            for data in parts:
                text += self.read(data)
        except ModelError as error:
            return text, error
        return text, None

    def read(self, data: bytes) -> str:
        """Return the text of a part. Raises ModelError, but not behind the end: the answer is whole whatever comes there."""
        if data.startswith(DONE):
            self.is_done = True
            return ""
        if not self.is_ended:
            return self._part(data)
        with suppress(ModelError):
            self._part(data)
        return ""

    def _part(self, data: bytes) -> str:
        part = _object(_parsed(data))
        if part.get("error"):
            raise ModelError("it says that it has failed")
        if part.get("usage"):
            self._used = _used(part["usage"])
        choices = part.get("choices")
        if not choices:  # some tell of what was used, or of filters
            return ""
        if not isinstance(choices, list):
            raise ModelError("what came is no part of an answer")
        return self._choice(_object(choices[0]))

    def calls(self) -> Iterator[ToolCall]:
        """Yield the calls that the model asks for. One that was cut short is none."""
        if self._reason == "length":
            return
        for call in self._calls:
            if not call.name:
                raise ModelError("it calls a tool without a name")
            yield ToolCall(call.id, call.name, call.arguments.strip() or "{}")

    def finished(self) -> Finished:
        """Return the end."""
        return Finished(self._ends(), self._model, *self._used)

    def _ends(self) -> Literal["stop", "length", "calls"]:
        if self._reason == "length":
            return "length"
        return "calls" if self._calls else "stop"

    def _choice(self, choice: dict[str, Any]) -> str:
        delta = _object(choice.get("delta") or {})
        text = _text(delta.get("content")) or _text(delta.get("refusal"))
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        self.heard += len(text) + (len(thought) if isinstance(thought, str) else 0)
        self._length += len(text)
        if self._length > self._longest:
            raise ModelError("it goes on for too long", is_final=True)
        for fragment in _list(delta.get("tool_calls")):
            self._fragment(_object(fragment))
        reason = choice.get("finish_reason")
        if reason == "content_filter":
            raise ModelError("its provider has stopped it by a filter", is_final=True)
        if reason:
            self._reason = str(reason)
        return text

    def _fragment(self, fragment: dict[str, Any]) -> None:
        function = _object(fragment.get("function") or {})
        call = self._call_of(fragment.get("index"), _text(fragment.get("id")))
        name, arguments = _text(function.get("name")), function.get("arguments")
        if name != call.name:
            call.name += name
        call.arguments += _text(orjson.dumps(arguments).decode() if isinstance(arguments, dict) else arguments)
        self.heard += 1 + len(call.name) + len(call.arguments)
        if len(call.arguments) > LONGEST_ARGUMENTS or len(call.name) > LONGEST_ARGUMENTS:
            raise ModelError("it calls a tool with too much", is_final=True)

    def _call_of(self, index: object, id: str) -> _Begun:
        """Return the call that a fragment belongs to: the one of its number, unless it has another id; else the last."""
        for call in reversed(self._calls):
            if (index is None or call.index == index) and id in ("", call.id):
                return call
        if len(self._calls) >= MOST_CALLS:
            raise ModelError("it calls too many tools", is_final=True)
        begun = _Begun(index, id or f"call_{secrets.token_hex(8)}")
        self._calls.append(begun)
        return begun


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ModelError("what came is no JSON") from error


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ModelError("what came is no part of an answer")
    return value


def _list(value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise ModelError("what came is no part of an answer")
    return value or []


def _text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise ModelError("what came is no text")
    # PostgreSQL keeps no NUL, and nobody misses it.
    return (value or "").replace("\x00", "")


def _used(usage: Any) -> tuple[int | None, int | None]:
    if not isinstance(usage, dict):
        return None, None
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None
