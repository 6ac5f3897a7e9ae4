"""Keys that rotate, keys that sign tokens, and look-ups of many credentials at once.

Expands only: the release before goes on with `find_key` and `find_organisation` as it knows them.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0002_keys"
down_revision = "0001"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
