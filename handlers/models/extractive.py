"""The built-in model: it invents nothing, it calls tools by fixed rules and says what they give. Deterministic, no I/O, no key.

What the last message of the user says decides, docs/agents.md, "The extractive model":

    /name {"a": 1}                     that tool is called
    summarize|extract|classify ...:    text_processing, where it is offered
    anything else                      knowledge_query, where it is offered

What the tool gave is then the answer: of knowledge_query the quoted sentences with their numbers, or that nothing was found;
of twin_simulation its findings. Where a schema is asked for, it is filled by what the tool gave (handlers/models/filling.py), or
refused.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import orjson

from core.model_providers import BUILT_IN
from handlers.models.filling import fields_in, fields_of, filled
from handlers.models.model import (
    FAILED,
    Delta,
    Finished,
    Message,
    ModelError,
    Request,
    ToolCall,
    ToolSpec,
    Written,
    text_of,
)

KNOWLEDGE, TEXTS, SIMULATION = "knowledge_query", "text_processing", "twin_simulation"
NOTHING_FOUND = "I found nothing about that in the knowledge bases."
NOTHING_TO_DO = (
    "I can look things up in knowledge bases and call tools, but this agent has neither a base nor that tool."
)
_COMMAND = re.compile(r"\s*/([A-Za-z0-9_-]{1,128})(?:\s+(.*))?\s*", re.DOTALL)
_TASK = re.compile(r"\s*(summari[sz]e|extract|classify)\b([^:\n]{0,2000}):\s*(\S.*)", re.DOTALL | re.IGNORECASE)
_OF_LABELS = re.compile(r"\s*(?:(?:as|into|by)\b)?\s*(.*)", re.IGNORECASE)
_KINDS = ("emails", "dates", "numbers", "urls", "names")
_PIECES = re.compile(r"\s*\S+|\s+$")
# Long answers let others work in between.
_AT_ONCE = 64


class ExtractiveModel:
    """It is stateless; one serves all."""

    @property
    def name(self) -> str:
        """Its name in agents' configs."""
        return BUILT_IN

    async def respond(self, request: Request) -> AsyncGenerator[Written]:
        """Yield a turn, word by word. Raises ModelError, before the first, only where a schema is asked for that it cannot fill."""
        said = _said(request)
        asked = sum(len(message.content.split()) for message in request.messages)
        if isinstance(said, ToolCall):
            yield said
            yield Finished("calls", BUILT_IN, asked, len(said.arguments.split()))
            return
        pieces = _PIECES.finditer(said.text if request.schema is None else _formed(said, request.schema))
        count = 0
        for piece in islice(pieces, request.most_tokens):
            count += 1
            yield Delta(piece[0])
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
        yield Finished("stop" if next(pieces, None) is None else "length", BUILT_IN, asked, count)

    async def write(self, messages: Sequence[Message], *, most_tokens: int) -> AsyncGenerator[str]:
        """Yield the text of a turn without tools."""
        async with aclosing(text_of(self.respond(Request(messages, most_tokens)))) as pieces:
            async for piece in pieces:
                yield piece


@dataclass(frozen=True, slots=True)
class _Said:
    """What is said to a person, and the tool's result that it is made of; None: no tool was called."""

    text: str
    result: str | None = None


def _formed(said: _Said, schema: Mapping[str, Any]) -> str:
    if said.result is None or said.result.startswith(FAILED):
        raise ModelError(f"No tool gave what could fill the schema: {said.text}", is_final=True, is_unfit=True)
    return filled(schema, said.result, said.text)


def _said(request: Request) -> _Said | ToolCall:
    asked = [place for place, each in enumerate(request.messages) if each.role == "user" and not each.is_correction]
    if not asked:
        return _Said(NOTHING_TO_DO)
    text, since = request.messages[asked[-1]].content, request.messages[asked[-1] + 1 :]
    results = [message for message in since if message.role == "tool"]
    if results:
        return _Said(_told(results[-1], since), results[-1].content)
    tools = {tool.name: tool for tool in request.tools}
    called = _called(text, tools)
    if called is None or isinstance(called, str):
        return _Said(called or NOTHING_TO_DO)
    name, arguments = called
    return ToolCall(f"call_{len(request.messages)}", name, arguments)


def _called(text: str, tools: Mapping[str, ToolSpec]) -> tuple[str, str] | str | None:
    """Return the tool to call with its arguments, or what to say in place of it; None: nothing is to be done."""
    command = _COMMAND.fullmatch(text)
    if command is not None:
        if command[1] in tools:
            return command[1], _arguments((command[2] or "").strip(), tools[command[1]])
        if not command[2] or command[2].lstrip().startswith("{"):
            return f"There is no tool {command[1]}. There are: {', '.join(tools) or 'none'}."
    task = _TASK.fullmatch(text) if TEXTS in tools else None
    arguments = None if task is None else _task(task[1].lower(), task[2].strip(), task[3])
    if arguments is not None:
        return TEXTS, orjson.dumps(arguments).decode()
    if KNOWLEDGE in tools and text.strip():
        question = text.strip()[: _longest(tools[KNOWLEDGE], "question")]
        return KNOWLEDGE, orjson.dumps({"question": question}).decode()
    return None


def _arguments(told: str, tool: ToolSpec) -> str:
    """Return the arguments of a command: JSON as it was written; or words, where the tool has one text that it must have."""
    needed = tool.parameters.get("required")
    if told and not told.startswith("{") and isinstance(needed, list) and len(cast("list[Any]", needed)) == 1:
        return orjson.dumps({str(needed[0]): told}).decode()
    return told or "{}"


def _task(task: str, detail: str, text: str) -> dict[str, Any] | None:
    if task == "extract":
        kinds = [kind for kind in _KINDS if re.search(rf"\b{kind}?\b", detail, re.IGNORECASE)]
        return {"task": "extract", "text": text, **({"kinds": kinds} if kinds else {})}
    if task != "classify":
        return {"task": "summarize", "text": text}
    found = _OF_LABELS.fullmatch(detail)
    labels = [label.strip() for label in re.split(r",|\bor\b", found[1])] if found is not None else []
    labels = list(dict.fromkeys(filter(None, labels)))
    return {"task": "classify", "text": text, "labels": labels} if len(labels) > 1 else None


def _longest(tool: ToolSpec, name: str) -> int:
    told = fields_in(fields_in(tool.parameters.get("properties")).get(name)).get("maxLength")
    return told if isinstance(told, int) else 8_000


def _told(result: Message, since: Sequence[Message]) -> str:
    """Return what a tool's result says to a person."""
    calls = [call for message in since for call in message.calls]
    name = next((call.name for call in calls if call.id == result.call_id), None)
    told = fields_of(result.content)
    if name == KNOWLEDGE and "quoted" in told:
        return str(told["quoted"] or NOTHING_FOUND) if told.get("supported", True) else NOTHING_FOUND
    if name == SIMULATION and told.get("findings"):
        return " ".join(map(str, told["findings"]))
    if name == TEXTS and told:
        return _of_text(told)
    return result.content.strip() or "The tool gave nothing."


def _of_text(told: Mapping[str, Any]) -> str:
    if "summary" in told:
        return str(told["summary"])
    if "label" in told:
        return str(told["label"] or "None of the labels fits.")
    lines = [
        f"{kind}: {', '.join(map(str, found))}" for kind, found in told.items() if isinstance(found, list) and found
    ]
    return "\n".join(lines) or "There is nothing of that in the text."
