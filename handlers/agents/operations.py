"""What can be done with agents."""

from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from handlers.agents.models import AgentBody
from handlers.resources.crud import Resource


class Agents(Resource[AgentBody]):
    """Agents, kept as documents."""

    kind = "agents"
    event = "agent"
    body = AgentBody

    def describe(self, body: AgentBody) -> tuple[str, str, str]:
        """Return name, type and status."""
        return body.name, body.type, body.status

    def allow(self, ctx: Context, before: Mapping[str, Any] | None, body: AgentBody) -> None:
        """Raise HubError where an agent gets what the caller has not: whoever executes it reads its bases, and asks its agents."""
        held = before or {}
        lent = {str(each) for each in body.knowledge} - set(held.get("knowledge", ()))
        if lent and not ctx.caller.has("read:knowledge"):
            raise HubError("INSUFFICIENT_SCOPE", "To name knowledge bases takes the scope read:knowledge")
        asked = _ids(body.config.get("agents")) - _ids(held.get("config", {}).get("agents"))
        _check(ctx, lent | asked)


def _ids(named: Any) -> set[str]:
    return {each for each in named if isinstance(each, str)} if isinstance(named, list) else set()


def _check(ctx: Context, ids: Iterable[str]) -> None:
    found = [parse_id(each) for each in ids]
    if any(id is not None and not ctx.caller.may_touch(id) for id in found):
        raise HubError("FORBIDDEN", "The credential is not for all that the agent would get")
