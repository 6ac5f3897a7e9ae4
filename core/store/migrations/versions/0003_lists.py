"""Lists that sort and filter: indexes by what they sort by, and of a resource's metadata and data what they filter by.

Expands only: a trigger keeps the new column, so the release before writes as it did. While the revision runs, writes of the three
tables wait.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0003_lists"
down_revision = "0002_keys"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
