"""Who may not speak in a chat, or not be there.

Expands only: the release before does not know what is new.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0019_chats"
down_revision = "0018_namespaces"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
