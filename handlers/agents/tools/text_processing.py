"""`text_processing`: summaries, extraction and classification by rules, without a model."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from handlers.agents.tools.texts.classifying import best_of, scores_of
from handlers.agents.tools.texts.extracting import KINDS, MOST_FOUND, extracted
from handlers.agents.tools.texts.summarizing import summary_of
from handlers.agents.tools.tool import LONGEST_OUTPUT, Calling, ToolError, ToolResult
from handlers.models.model import ToolSpec

LONGEST_TEXT = 64 * 1024
MOST_LABELS = 50
_SENTENCES = 3
_MOST_SENTENCES = 10

SPEC = ToolSpec(
    "text_processing",
    "Processes a text by fixed rules. Task summarize gives its most telling sentences; extract gives emails, dates, numbers, urls "
    "and names in it; classify gives the one of `labels` that fits, by common words.",
    {
        "type": "object",
        "properties": {
            "task": {"type": "string", "enum": ["summarize", "extract", "classify"]},
            "text": {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
            "sentences": {
                "type": "integer",
                "minimum": 1,
                "maximum": _MOST_SENTENCES,
                "description": f"Of a summary, at most; {_SENTENCES} where not given",
            },
            "kinds": {
                "type": "array",
                "items": {"type": "string", "enum": list(KINDS)},
                "minItems": 1,
                "maxItems": len(KINDS),
                "description": "What to extract; all where not given",
            },
            "labels": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 500},
                "minItems": 2,
                "maxItems": MOST_LABELS,
                "description": "To classify by. One may tell words that speak for it: 'billing: invoice, refund'",
            },
        },
        "required": ["task", "text"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True)
class TextProcessing:
    """One text in, one JSON object out; the same each time."""

    needs_approval: bool = False

    @property
    def spec(self) -> ToolSpec:
        """How the model is told of it."""
        return SPEC

    async def call(self, calling: Calling, arguments: Mapping[str, Any]) -> ToolResult:
        """Process; in a thread, since a long text takes tens of milliseconds."""
        del calling
        if arguments["task"] == "classify" and "labels" not in arguments:
            raise ToolError("To classify, `labels` are needed")
        return ToolResult(await asyncio.to_thread(_processed, arguments))


def _processed(arguments: Mapping[str, Any]) -> str:
    text: str = arguments["text"]
    if arguments["task"] == "summarize":
        return _written({"summary": summary_of(text, arguments.get("sentences", _SENTENCES))})
    if arguments["task"] == "classify":
        scores = scores_of(text, arguments["labels"])
        return _written({"label": best_of(scores), "scores": dict(scores)})
    kinds = list(dict.fromkeys(arguments.get("kinds", KINDS)))
    return _within(dict(extracted(text, kinds)))


def _within(found: dict[Any, list[str]]) -> str:
    """Write what was found; where that is too long, less of each kind."""
    most = MOST_FOUND
    while len(written := _written({kind: each[:most] for kind, each in found.items()})) > LONGEST_OUTPUT:
        most //= 2
    return written


def _written(result: Mapping[str, Any]) -> str:
    return orjson.dumps(result).decode()
