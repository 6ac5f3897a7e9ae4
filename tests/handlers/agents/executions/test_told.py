"""The rules of docs/protocol.md, "Answers as they are written", by which one who reads an execution takes what comes."""

from typing import Any
from uuid import UUID

import pytest

from handlers.agents.executions.told import Told

ID = UUID("01978f3e-5a73-7c3d-9b42-6f0d2c1e8a55")
ACTION = {"calls": []}


def data(attempt: int, sequence: int, text: str = "", **more: Any) -> dict[str, Any]:
    return {"attempt": attempt, "sequence": sequence, "text": text, **more}


def begun() -> Told:
    """Return one who has read `ab`, in two deltas, of the second attempt."""
    told = Told()
    assert told.takes("run.started", data(2, 0))
    for sequence, text in enumerate("ab", 1):
        assert told.takes("run.delta", data(2, sequence, text))
    return told


@pytest.mark.parametrize(
    ("type", "said", "text"),
    [
        ("run.delta", data(2, 3, "c"), "abc"),
        ("run.delta", data(2, 2, "b"), None),
        ("run.delta", data(2, 4, "d"), None),
        ("run.delta", data(3, 3, "c"), None),
        ("run.delta", data(1, 3, "c"), None),
        ("run.snapshot", data(2, 2, "ab"), "ab"),
        ("run.snapshot", data(2, 1, "a"), None),
        ("run.snapshot", data(2, 5, "abcde"), "abcde"),
        ("run.snapshot", data(1, 9, "other"), None),
        ("run.restarted", data(3, 1, "a"), "a"),
        ("run.restarted", data(2, 3, ""), ""),
        ("run.resumed", data(3, 2, "ab"), "ab"),
        ("run.step", {"attempt": 2, "step": {}}, "ab"),
        ("run.step", {"attempt": 1, "step": {}}, None),
        ("run.completed", {"attempt": 2, "sequence": 2, "status": "completed"}, "ab"),
        ("run.cancelled", {"attempt": 3, "sequence": 2, "status": "cancelled"}, "ab"),
        ("run.completed", {"attempt": 1, "sequence": 9, "status": "completed"}, None),
    ],
)
def test_what_is_taken(type: str, said: dict[str, Any], text: str | None):
    """None: it is ignored, and changes nothing."""
    told = begun()
    before = told.whole(ID)
    assert told.takes(type, said) == (text is not None)
    if text is None:
        assert told.whole(ID) == before
    else:
        assert (told.whole(ID)["text"], told.attempt) == (text, said["attempt"])


def test_whole_is_a_snapshot_that_goes_on():
    """Who begins with it, and takes what follows, has what the first has."""
    told = begun()
    whole = told.whole(ID)
    assert whole == {
        "execution_id": str(ID),
        "attempt": 2,
        "sequence": 2,
        "text": "ab",
        "status": "running",
        "action": None,
    }
    other = Told()
    assert other.takes("run.snapshot", whole)
    for each in (told, other):
        assert each.takes("run.delta", data(2, 3, "c"))
    assert other.whole(ID) == told.whole(ID)


def test_whole_says_what_is_waited_for():
    told = begun()
    assert told.takes("run.requires_action", {"attempt": 2, "sequence": 2, "action": ACTION})
    assert (told.whole(ID)["status"], told.whole(ID)["action"]) == ("requires_action", ACTION)
    assert told.takes("run.resumed", data(3, 2, "ab"))
    assert (told.whole(ID)["status"], told.whole(ID)["action"]) == ("running", None)


@pytest.mark.parametrize(("attempt", "sequence", "lacks"), [(2, 2, False), (2, 3, True), (3, 0, True), (1, 9, False)])
def test_what_a_row_has_more(*, attempt: int, sequence: int, lacks: bool):
    assert begun().lacks({"attempt": attempt, "sequence": sequence}) is lacks
