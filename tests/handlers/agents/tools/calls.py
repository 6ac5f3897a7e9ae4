"""Calls of tools, as the runtime makes them."""

import time
from dataclasses import replace
from typing import Any

import orjson

from core.auth.caller import ALL_SCOPES
from core.ids import new_id
from handlers.agents.models import AgentBody
from handlers.agents.tools.arguments import read_arguments
from handlers.agents.tools.tool import Calling, Delegation, Rights, Tool, ToolResult, Waits

AGENT = AgentBody(name="Support")


def rights(**some: Any) -> Rights:
    return replace(Rights(new_id(), "key:test", frozenset(ALL_SCOPES), None), **some)


def calling(**some: Any) -> Calling:
    """Return a call with a minute left; what is not given does not matter."""
    usual = Calling(new_id(), AGENT, rights(), new_id(), "run-1-step-2", depth=0, deadline=time.monotonic() + 60)
    return replace(usual, **some)


async def called(tool: Tool, /, at: Calling | None = None, **arguments: Any) -> ToolResult | Delegation | Waits:
    """Call a tool as the runtime does: its arguments are read from a model's text."""
    read = read_arguments(tool.spec, orjson.dumps(arguments).decode())
    return await tool.call(at or calling(), read)


async def given(tool: Tool, /, at: Calling | None = None, **arguments: Any) -> dict[str, Any]:
    """Return the JSON that a tool gives."""
    result = await called(tool, at, **arguments)
    assert isinstance(result, ToolResult)
    return orjson.loads(result.content)
