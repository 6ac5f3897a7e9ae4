"""The foundation: organisations, keys, resources with history, outbox, log.

Expands only: a release that knows this revision runs beside one that does not.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
