"""The life of knowledge bases: what was asked of them, how often and how fast, and how many documents they have.

Expands only: the release before does not know these tables. The counting triggers stand on tables that it does not write.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0011_knowledge_life"
down_revision = "0010_vectors"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
