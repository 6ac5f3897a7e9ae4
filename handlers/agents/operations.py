"""What can be done with agents."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.results import Deleted
from handlers.agents.credentials import Vault, concealed, set_in
from handlers.agents.leaving import Leaving
from handlers.agents.models import AgentBody
from handlers.resources.crud import Resource
from handlers.resources.models import DeleteInput
from handlers.resources.store import Beside


class Agents(Resource[AgentBody]):
    """Agents, kept as documents; `vault` keeps what MCP servers know them by, without it none can be given."""

    kind = "agents"
    event = "agent"
    body = AgentBody

    def __init__(self, vault: Vault | None = None, leaving: Leaving | None = None) -> None:
        super().__init__()
        self._vault = vault
        # None: there is nobody to remove what an agent had, where operations are only looked at.
        self._leaving = leaving

    async def delete(self, ctx: Context, gone: DeleteInput) -> Deleted:
        """Delete an agent with its executions and sessions; its history and its events stay."""
        deleted = await super().delete(ctx, gone)
        if self._leaving is not None:
            await self._leaving.gone(ctx, deleted.id)
        return deleted

    def describe(self, body: AgentBody) -> tuple[str, str, str]:
        """Return name, type and status."""
        return body.name, body.type, body.status

    def allow(self, ctx: Context, before: Mapping[str, Any] | None, body: AgentBody) -> None:
        """Raise HubError where an agent gets what the caller has not: whoever executes it uses its bases, agents, twins."""
        held = before or {}
        lent = {str(each) for each in body.knowledge} - set(held.get("knowledge", ()))
        if lent and not ctx.caller.has("read:knowledge"):
            raise HubError("INSUFFICIENT_SCOPE", "To name knowledge bases takes the scope read:knowledge")
        config = held.get("config", {})
        asked = _ids(body.config.get("agents")) - _ids(config.get("agents"))
        simulated = _ids(body.config.get("twins")) - _ids(config.get("twins"))
        if simulated and not ctx.caller.has("write:twins"):
            raise HubError("INSUFFICIENT_SCOPE", "To name twins that it may simulate takes the scope write:twins")
        _check(ctx, lent | asked | simulated)

    def conceal(
        self, ctx: Context, id: UUID, before: Mapping[str, Any] | None, body: AgentBody
    ) -> tuple[AgentBody, Beside | None]:
        """Return the agent without what MCP servers know it by, and what keeps that."""
        held = (before or {}).get("config", {})
        config, credentials = concealed(held, body.config)
        shown = body.model_copy(update={"config": config})
        if set(credentials) == set(set_in(held)):
            return shown, None
        if self._vault is None:
            raise RuntimeError("there is no vault for what servers know agents by")
        return shown, self._vault.keeping(ctx.caller.org_id, id, credentials)


def _ids(named: Any) -> set[str]:
    return {each for each in named if isinstance(each, str)} if isinstance(named, list) else set()


def _check(ctx: Context, ids: Iterable[str]) -> None:
    found = [parse_id(each) for each in ids]
    if any(id is not None and not ctx.caller.may_touch(id) for id in found):
        raise HubError("FORBIDDEN", "The credential is not for all that the agent would get")
