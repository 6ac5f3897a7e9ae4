"""The fixture of what stands on executions."""

from tests.handlers.agents.executions.conftest import bureau

__all__ = ["bureau"]
