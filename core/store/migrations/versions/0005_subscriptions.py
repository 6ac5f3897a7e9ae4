"""Durable subscriptions: what is outstanding, every attempt that failed, dead letters, replays.

Expands only: the release before does not know these tables.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0005_subscriptions"
down_revision = "0004_jobs"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
