"""Telemetry of twins: points in partitions, rollups, alerts.

Expands only: the release before does not know what is new.
"""

from pathlib import Path

from core.store.revision import run_file

revision = "0014_telemetry"
down_revision = "0013_twin_state"


def upgrade() -> None:
    """Run the SQL file beside this one."""
    run_file(Path(__file__).with_suffix(".sql"))
