"""Vectors of chunks, where PostgreSQL has pgvector; without it `migrate` looks again each time, and the hub finds by words.

Expands only: the release before does not know these tables.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0010_vectors"
down_revision = "0009_documents"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
