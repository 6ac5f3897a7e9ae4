"""What doctor says of marks that make no sense."""

import pytest

from core.settings import Settings
from hub.commands.overload_findings import overload_findings

MIB = 1024 * 1024


def cures(settings: dict[str, int], limit: int | None = None) -> list[str]:
    """Return the settings that the cures name first."""
    findings = overload_findings(Settings.load(**settings), limit)
    return [each.cure.partition("HUB_")[2].split()[0] for each in findings if each.cure is not None]


def test_defaults_make_sense():
    """On this machine too."""
    assert cures({}) == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"memory_mib": 8192}, ["MEMORY_MIB"]),
        ({"memory_mib": 200, "waiting_mib": 64}, ["MEMORY_MIB"]),
        ({"memory_mib": 400}, ["WAITING_MIB"]),
        ({"memory_mib": 2048, "waiting_mib_per_organisation": 300}, ["WAITING_MIB_PER_ORGANISATION"]),
        ({"memory_mib": 2048, "handshakes_per_second": 100}, ["RETURNS_PER_SECOND"]),
        ({"memory_mib": 2048, "waiting_mib": 1024, "handshakes_per_second": 100, "returns_per_second": 100}, []),
    ],
    ids=["more-than-there-is", "too-little", "slow-readers", "one-organisation", "handshakes", "fine"],
)
def test_marks_that_make_no_sense(settings: dict[str, int], named: list[str]):
    """Each with what to set, where a process can have 4 GiB."""
    assert cures(settings, 4096 * MIB) == named
