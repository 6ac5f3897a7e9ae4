"""How many resources there are now, without counting them.

Expands only: the release before does not ask.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0020_population"
down_revision = "0019_chats"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
