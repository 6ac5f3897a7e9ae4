"""What organisations have set for their namespaces.

Expands only: the release before does not know what is new.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0018_namespaces"
down_revision = "0017_agents"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
