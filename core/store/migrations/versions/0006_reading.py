"""The log and the audit are read by clients: indexes by what they filter by.

Adds indexes, and one in the place of another. While the revision runs, the relay and the audit wait.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0006_reading"
down_revision = "0005_subscriptions"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
