"""Branches of twins, and where their data comes from.

Expands only: the release before does not know what is new.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0016_branches"
down_revision = "0015_simulations"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
