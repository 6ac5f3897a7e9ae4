"""How one endpoint is spoken to: OpenAI's chat completions, less what it has refused. No I/O.

What an endpoint does not know it answers with 400 or 422 and the parameter's name, in `param` or only in words. Then it is asked
without; where that is taken, it is remembered for as long as the process lives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from handlers.models.model import Message, Request, ToolCall

# Models that think first take other parameters, and count what they think.
_OLD_PARAMETERS = frozenset({"max_tokens", "temperature"})
_THOUGHT_TIMES = 4
# In the order in which they are looked for in a message.
_OPTIONAL = ("stream_options", "response_format", "max_tokens", "temperature")
_IN_JSON = "Answer with one JSON object of this JSON Schema, and with nothing else:\n"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an endpoint takes. `form`: how it is told that JSON is wanted, by a schema, as any object, or in words alone."""

    thinks: bool = False
    counts: bool = True
    form: int = 0

    def body(self, model: str, request: Request) -> dict[str, Any]:
        """Return what is posted."""
        body: dict[str, Any] = {"model": model, "messages": self._messages(request), "stream": True}
        if self.counts:
            body["stream_options"] = {"include_usage": True}
        if self.thinks:
            body["max_completion_tokens"] = request.most_tokens * _THOUGHT_TIMES
        else:
            body["max_tokens"] = request.most_tokens
            if request.temperature is not None:
                body["temperature"] = request.temperature
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": dict(tool.parameters),
                    },
                }
                for tool in request.tools
            ]
        if request.schema is not None and self.form < 2:
            body["response_format"] = _form(self.form, request.schema)
        return body

    def without(self, param: str | None, said: str) -> "Dialect | None":
        """Return how to speak after a refusal, by the parameter that it names or the words that it says; None: as before."""
        blamed = param if param in _OPTIONAL else next((name for name in _OPTIONAL if name in said), None)
        if blamed in _OLD_PARAMETERS and not self.thinks:
            return replace(self, thinks=True)
        if blamed == "stream_options" and self.counts:
            return replace(self, counts=False)
        if blamed == "response_format" and self.form < 2:
            return replace(self, form=self.form + 1)
        return None

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        messages: Sequence[Message] = request.messages
        if request.schema is not None and self.form:
            messages = [Message("system", _IN_JSON + orjson.dumps(dict(request.schema)).decode()), *messages]
        return [_message(each) for each in messages]


def _form(form: int, schema: Mapping[str, Any]) -> dict[str, Any]:
    if form:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}


def _message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        told["content"] = message.content or None
        told["tool_calls"] = [_call(call) for call in message.calls]
    if message.call_id is not None:
        told["tool_call_id"] = message.call_id
    return told


def _call(call: ToolCall) -> dict[str, Any]:
    # Some endpoints read the arguments, and refuse the whole conversation for ever where a model once wrote broken ones.
    arguments = call.arguments if _is_object(call.arguments) else "{}"
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
