"""Documents of knowledge bases, the chunks that they are cut into, and what these are found by.

Expands only: the release before does not know these tables.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0009_documents"
down_revision = "0008_application_events"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
