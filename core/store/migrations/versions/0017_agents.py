"""What executions come to beside their text, and credentials of agents' MCP servers.

Expands only: the release before does not know these columns, nor the table.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0017_agents"
down_revision = "0016_branches"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
