"""The ledger finds what it is there to find. A checker that never fails proves nothing."""

from collections.abc import Sequence

import pytest

from tests.harness.ledger import Logged, problems_of_channel, problems_of_log
from tests.harness.stream_client import Received

LOG = [
    Logged(1, "e1", "agents:a", {"id": "e1"}),
    Logged(2, "e2", "twins:t", {"id": "e2"}),
    Logged(3, "e3", "agents:b", {"id": "e3"}),
    Logged(4, "e4", "agents:a", {"id": "e4"}),
]


def frames(channel: str, *offsets: int) -> list[Received]:
    return [Received(channel, "k", offset, {"id": f"e{offset}"}) for offset in offsets]


@pytest.mark.parametrize(
    ("channel", "offsets", "after"),
    [("agents", (1, 3, 4), 0), ("agents", (3, 4), 1), ("agents:a", (1, 4), 0), ("twins", (2,), 0), ("twins", (), 2)],
)
def test_complete_reader_has_no_problems(channel: str, offsets: Sequence[int], after: int):
    """Everything of the channel since the start, once, in order."""
    assert problems_of_channel(frames(channel, *offsets), LOG, channel, after=after) == []


@pytest.mark.parametrize(
    ("offsets", "words"),
    [
        ((1, 4), "1 of 3 events missed, such as [3]"),
        ((1, 3, 3, 4), "3 came after 3"),
        ((1, 4, 3), "3 came after 4"),
        ((1, 2, 3, 4), "2 is no event of this channel"),
    ],
)
def test_gap_double_disorder_and_stranger_are_found(offsets: Sequence[int], words: str):
    """Each way to be wrong is named."""
    assert any(words in problem for problem in problems_of_channel(frames("agents", *offsets), LOG, "agents", after=0))


def test_changed_event_is_found():
    """What is delivered is what the log has."""
    came = [Received("twins", "k", 2, {"id": "e2", "data": "other"})]
    assert any("differs from the log" in problem for problem in problems_of_channel(came, LOG, "twins", after=0))


def test_log_lacks_doubles_and_inventions():
    """Acknowledged writes are there once; uncertain ones may be there; others may not."""
    ids = ["e1", "e2", "e3", "e4"]
    assert problems_of_log(ids, LOG, uncertain=0) == []
    assert problems_of_log(ids[:3], LOG, uncertain=1) == []
    assert problems_of_log(ids[:3], LOG, uncertain=0) == ["1 events of the log were written by nobody; 0 could be"]
    assert problems_of_log([*ids, "e5"], LOG, uncertain=0) == ["acknowledged, but not in the log: e5"]
    doubled = [*LOG, Logged(5, "e4", "agents:a", {})]
    assert problems_of_log(ids, doubled, uncertain=0) == ["1 events are in the log twice"]
    gap = [LOG[0], LOG[2]]
    assert problems_of_log(["e1", "e3"], gap, uncertain=0) == ["positions are not dense: 3 stands where 2 should"]
