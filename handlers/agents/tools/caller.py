"""Tools that the caller runs: the run waits, durably, until it brings the result. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handlers.agents.config import DeclaredTool
from handlers.agents.tools.tool import Calling, Waits
from handlers.models.model import ToolSpec


@dataclass(frozen=True, slots=True)
class CallerTool:
    """A tool that an agent's config, or a request, declares."""

    declared: DeclaredTool

    @property
    def spec(self) -> ToolSpec:
        """How the model is told of it: as it was declared."""
        parameters = {"type": "object", **self.declared.parameters}
        return ToolSpec(self.declared.name, self.declared.description, parameters)

    @property
    def needs_approval(self) -> bool:
        """Whether a person is asked first."""
        return self.declared.approval

    async def call(self, calling: Calling, arguments: Mapping[str, Any]) -> Waits:
        """Have the caller do it."""
        del calling, arguments
        return Waits()
