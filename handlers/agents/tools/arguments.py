"""What a model wrote as the arguments of a call, read and held against the tool's schema. No I/O."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from core import strict_json
from core.errors import HubError
from core.operations.validation import MOST_LEVELS, is_deep
from handlers.agents.tools.tool import ToolError
from handlers.events.schemas import MOST_WORK, Compiled, compiled
from handlers.models.model import ToolSpec

LONGEST_ARGUMENTS = 256 * 1024
_PLACE = "arguments"
_MOST_TOLD = 8
_MOST_KEPT = 128


def read_arguments(spec: ToolSpec, text: str) -> dict[str, Any]:
    """Return the arguments of a call; raises ToolError with what the model is told to mend.

    Where the hub does not take a schema (a server's own may have anything), who runs the tool has to look.
    """
    if len(text) > LONGEST_ARGUMENTS:
        raise ToolError(f"The arguments are over {LONGEST_ARGUMENTS >> 10} KiB")
    arguments = _object(text)
    schema = _ready(orjson.dumps(spec.parameters))
    if schema is None:
        return arguments
    written = text.encode()
    work = schema.work(written)
    if work > MOST_WORK:
        raise ToolError("With the tool's schema these are more arguments than are checked at once: send fewer")
    problems = schema.problems(arguments, work, _PLACE)
    if problems:
        told = "; ".join(f"{each.field}: {each.message}" for each in problems[:_MOST_TOLD])
        raise ToolError(f"The arguments are not as the tool's schema says: {told}")
    return arguments


def _object(text: str) -> dict[str, Any]:
    try:
        found = strict_json.loads(text.strip().encode() or b"{}")
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise ToolError("The arguments are no JSON") from error
    except HubError as error:
        raise ToolError(f"The arguments cannot be read: {error.text}") from error
    if not isinstance(found, Mapping):
        raise ToolError("The arguments must be one JSON object")
    if is_deep(found):
        raise ToolError(f"The arguments are nested over {MOST_LEVELS} levels deep")
    return dict(found)


@lru_cache(maxsize=_MOST_KEPT)
def _ready(schema: bytes) -> Compiled | None:
    try:
        return compiled(orjson.loads(schema), _PLACE)
    except HubError:
        return None
