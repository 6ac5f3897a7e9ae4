"""Executions of agents, their steps, and sessions with their messages.

Expands only: the release before does not know these tables.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0012_executions"
down_revision = "0011_knowledge_life"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
