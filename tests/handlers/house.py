"""Agents, knowledge bases and twins over a real database, below the doors."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.auth.caller import Caller
from core.errors import HubError
from core.operations.operation import Registry
from core.operations.results import Document, Page
from core.operations.runner import Runner
from core.seal import Seal
from core.store.database import connect_as
from handlers.agents.credentials import Vault
from handlers.agents.executions.happenings import EXECUTIONS
from handlers.agents.operations import Agents
from handlers.audit.operations import Audit
from handlers.events.notices import NOTICES
from handlers.events.operations import Events
from handlers.events.types import EventTypes
from handlers.knowledge.life.operations import KnowledgeLife
from handlers.knowledge.moving.operations import KnowledgeMoves
from handlers.knowledge.operations import Knowledge
from handlers.twins.operations import Twins
from tests.harness.clock import ManualClock

SEAL = Seal("of a test")
_RESOURCES = (Agents(Vault(SEAL)), Knowledge(), Twins())
_TYPES = EventTypes([*EXECUTIONS, *NOTICES, *(each for kind in _RESOURCES for each in kind.event_types())])
_KINDS = (*_RESOURCES, Events(), _TYPES, Audit(), KnowledgeLife(), KnowledgeMoves())
OPERATIONS = Registry.of(each for kind in _KINDS for each in kind.operations())


@dataclass
class House:
    """The three resources, the log and the audit over a real database."""

    url: str
    runner: Runner
    clock: ManualClock
    caller: Caller

    async def run(self, name: str, caller: Caller | None = None, /, **data: Any) -> Any:
        operation = OPERATIONS[name]
        return (await self.runner.run(operation, caller or self.caller, data, request_id="req_1")).result

    def caller_for(self, *ids: UUID) -> Caller:
        """Return a caller that may touch these resources only."""
        return replace(self.caller, resource_ids=frozenset(ids))

    async def create(self, kind: str, /, **body: Any) -> Document:
        return await self.run(f"{kind}.create", **body)

    async def found(self, kind: str, q: str) -> list[str]:
        page: Page = await self.run(f"{kind}.list", q=q)
        return [orjson.loads(item)["name"] for item in page.items]

    async def rows(self, query: str, *args: object) -> list[Any]:
        connection = await connect_as(self.url, "hub_owner")
        try:
            return await connection.fetch(query, *args)
        finally:
            await connection.close()


async def refused(work: Any) -> HubError:
    """Return the refusal that `work` ends with."""
    with pytest.raises(HubError) as caught:
        await work
    return caught.value
