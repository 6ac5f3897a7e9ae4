"""A twin's `data` against its `data_schema`, by the validator of event types: bounded before it is run, nothing is fetched."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from core.errors import Detail, HubError
from handlers.events.schemas import MOST_WORK, Compiled, compiled


def check_data(schema: Mapping[str, Any], data: Any) -> None:
    """Raise HubError VALIDATION_ERROR where the schema is none that can be taken, or `data` is not as it says.

    Null is no data yet, which is as any schema says.
    """
    ready = _ready(orjson.dumps(schema))
    if data is None:
        return
    work = ready.work(orjson.dumps(data))
    if work > MOST_WORK:
        detail = Detail("data", "VALUE_OUT_OF_RANGE", "It is too large to be checked with its schema")
        raise HubError("VALIDATION_ERROR", details=[detail])
    wrong = ready.problems(data, work, "data")
    if wrong:
        raise HubError("VALIDATION_ERROR", details=wrong)


# A twin that changes each second has the same schema each time.
@lru_cache(maxsize=256)
def _ready(text: bytes) -> Compiled:
    return compiled(orjson.loads(text), "data_schema")
