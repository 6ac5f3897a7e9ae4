"""What can be done with agents."""

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
