"""Durable jobs, and the schedules that make some of them.

Expands only: the release before does not know them.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0004_jobs"
down_revision = "0003_lists"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
