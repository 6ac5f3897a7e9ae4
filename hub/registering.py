"""All operations that a hub has."""

from collections.abc import Iterable

from core.operations.operation import Operation, Registry
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


def registry(
    more: Iterable[Operation] = (),
    knowledge: Knowledge | None = None,
    agents: Agents | None = None,
    twins: Twins | None = None,
) -> Registry:
    """Return the operations on resources and of what has happened, and those handed in, which need parts of a running node."""
    resources = (agents or Agents(), knowledge or Knowledge(), twins or Twins())
    types = EventTypes([*EXECUTIONS, *NOTICES, *(type for kind in resources for type in kind.event_types())])
    kinds = (*resources, Events(), types, Audit(), KnowledgeLife(), KnowledgeMoves())
    declared = (operation for kind in kinds for operation in kind.operations())
    return Registry.of((*declared, *more))
