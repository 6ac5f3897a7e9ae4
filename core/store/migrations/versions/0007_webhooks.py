"""Webhooks: where a push subscription is pushed to, and what it is signed with.

Expands only: the release before knows no push.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0007_webhooks"
down_revision = "0006_reading"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
