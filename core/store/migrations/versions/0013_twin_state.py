"""State of twins: relationships, and lists of the past.

Expands only: the release before does not know what is new.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0013_twin_state"
down_revision = "0012_executions"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
