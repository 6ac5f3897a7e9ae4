"""How tests ask for what belongs to a twin's state."""

from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import Caller
from tests.handlers.house import House


async def asked(house: House, what: str, id: UUID, caller: Caller | None = None, /, **more: Any) -> Any:
    """Return what `twins.<what>` shows of a twin."""
    return orjson.loads((await house.run(f"twins.{what}", caller, id=str(id), **more)).body)
