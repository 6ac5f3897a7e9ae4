"""Events of applications: the versions of their subjects, and the types that organisations register.

Expands only: the release before does not know these tables.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0008_application_events"
down_revision = "0007_webhooks"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
