"""An answer that is to be JSON of a schema: read, and held against it. No I/O.

UnfitError     it is not; the message says what is wrong, each with its place, and repeats none of it
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from core import strict_json
from core.errors import HubError
from core.operations.validation import MOST_LEVELS, is_deep
from handlers.events.schemas import MOST_WORK, Compiled, compiled

PLACE = "output"
_MOST_TOLD = 8
_MOST_KEPT = 128
_FENCE = "```"


class UnfitError(Exception):
    """An answer that is not of its schema."""


def read_structured(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that an answer is; a code fence around it is left out. Raises UnfitError.

    `schema` is one that `compiled` takes, of an object.
    """
    written = _unfenced(text.strip())
    value = _object(written)
    ready = _ready(orjson.dumps({"type": "object", **schema}))
    work = ready.work(written.encode())
    if work > MOST_WORK:
        raise UnfitError(f"{PLACE}: with this schema it is more than is checked at once")
    problems = ready.problems(value, work, PLACE)
    if problems:
        raise UnfitError("; ".join(f"{each.field}: {each.message}" for each in problems[:_MOST_TOLD]))
    return value


def _unfenced(text: str) -> str:
    if not (text.startswith(_FENCE) and text.endswith(_FENCE)):
        return text
    return text.partition("\n")[2].removesuffix(_FENCE).strip()


def _object(text: str) -> dict[str, Any]:
    try:
        found = strict_json.loads(text.encode())
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise UnfitError(f"{PLACE}: It is no JSON") from error
    except HubError as error:
        said = error.details[0].message if error.details else error.text
        raise UnfitError(f"{PLACE}: {said}") from error
    if not isinstance(found, dict):
        raise UnfitError(f"{PLACE}: It is no JSON object")
    if is_deep(found):
        raise UnfitError(f"{PLACE}: It is nested over {MOST_LEVELS} levels deep")
    return found


@lru_cache(maxsize=_MOST_KEPT)
def _ready(schema: bytes) -> Compiled:
    return compiled(orjson.loads(schema), PLACE)
