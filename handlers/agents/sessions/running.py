"""What sessions need of executions."""

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

from core.operations.context import Context
from core.operations.results import Document


class Executing(Protocol):
    """Begins and ends executions, in the transaction that the caller of an operation has open."""

    async def begin(
        self,
        ctx: Context,
        agent_id: UUID,
        *,
        query: str,
        context: Mapping[str, Any],
        session_id: UUID | None = None,
        message_id: UUID | None = None,
    ) -> Document:
        """Make an execution, queued; raises HubError RESOURCE_NOT_FOUND where there is no such agent."""
        ...

    async def cancel(self, ctx: Context, id: UUID) -> Document:
        """End an execution as cancelled; one that has ended stays as it is. Returns it."""
        ...
