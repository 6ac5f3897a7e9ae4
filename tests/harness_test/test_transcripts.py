"""The checker of transcripts finds what it is there to find, and lets pass what readers are told to expect."""

from typing import Any

import pytest

from tests.harness.stream_client import Bookmark
from tests.harness.transcripts import Transcript, transcript_of, transcripts_of
from tests.harness.watcher import Told

ID = "e1"
ROOM = f"runs:{ID}"
Event = dict[str, Any]


def event(kind: str, attempt: int, sequence: int | None = None, **data: Any) -> Event:
    placed = {} if sequence is None else {"sequence": sequence}
    return {"type": f"run.{kind}", "data": {"execution_id": ID, "attempt": attempt, **placed, **data}}


def delta(attempt: int, sequence: int, text: str = "") -> Event:
    return event("delta", attempt, sequence, text=text or f"{attempt}.{sequence} ")


def whole(kind: str, attempt: int, sequence: int, text: str, **data: Any) -> Event:
    return event(kind, attempt, sequence, text=text, **data)


STARTED = event("started", 1)
ONE, TWO = delta(1, 1, "a "), delta(1, 2, "b ")
END = event("completed", 1, 2, status="completed")
GOES_ON = [delta(2, 2, "b "), event("completed", 2, 2)]
WAITS = event("requires_action", 1, 1, action={})
SOUND = [STARTED, ONE, TWO, END]


def found(*events: Event, text: str = "a b ", status: str = "completed") -> list[str]:
    return transcript_of(ID, events).check({"status": status, "text": text})


@pytest.mark.parametrize(
    "events",
    [
        SOUND,
        [STARTED, ONE, event("step", 1, step={}), TWO, END],
        [whole("snapshot", 1, 1, "a ", status="running"), TWO, END],
        [whole("snapshot", 1, 2, "a b ", status="completed")],
        [STARTED, delta(1, 1, "x "), whole("restarted", 2, 0, ""), delta(2, 1, "a "), *GOES_ON],
        [STARTED, ONE, whole("restarted", 2, 1, "a "), *GOES_ON],
        [STARTED, ONE, WAITS, whole("resumed", 2, 1, "a "), *GOES_ON],
        [STARTED, ONE, whole("snapshot", 1, 2, "a b ", status="running"), END],
        [STARTED, ONE, whole("snapshot", 1, 2, "a b ", status="completed"), END],
    ],
    ids=["plain", "steps", "joined", "joined later", "again", "goes on", "resumed", "snapshot", "snapshot before the end"],
)  # fmt: skip
def test_sound_transcripts(events: list[Event]):
    """One answer, however it was told."""
    assert found(*events) == []


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([STARTED, TWO, END], "a gap"),
        ([STARTED, ONE, END], "the end is at (1, 2)"),
        ([STARTED, ONE, ONE, TWO, END], "came again"),
        ([STARTED, ONE, delta(2, 2, "b "), END], "nothing has said"),
        ([ONE, TWO, END], "nothing has said"),
        ([STARTED, ONE, whole("restarted", 2, 1, "a "), TWO, *GOES_ON], "which was left"),
        ([STARTED, ONE, whole("restarted", 2, 1, "a "), delta(2, 2, "b "), END], "which was left"),
        ([*SOUND, delta(1, 3)], "after it had ended"),
        ([*SOUND, event("step", 1, step={})], "after it had ended"),
        ([*SOUND, whole("restarted", 2, 0, "")], "after it had ended"),
        ([*SOUND, END], "twice"),
        ([*SOUND, event("cancelled", 2, 2)], "two states"),
        ([STARTED, ONE, TWO], "no end"),
        ([STARTED, ONE, TWO, event("failed", 1, 2)], "two states"),
        ([STARTED, ONE, delta(1, 2, "c "), END], "not the answer that GET shows"),
        ([STARTED, ONE, whole("snapshot", 1, 1, "x ", status="running"), TWO, END], "two texts"),
        ([STARTED, ONE, whole("snapshot", 1, 2, "x b ", status="running"), END], "is gone"),
        ([STARTED, ONE, whole("resumed", 2, 1, "x "), *GOES_ON], "from another text"),
        ([STARTED, ONE, event("started", 2), delta(2, 1), event("completed", 2, 1)], "without a word of it"),
        ([event("requires_action", 1, 0), *SOUND], "begins with"),
        ([event("jumped", 1), *SOUND], "unknown type"),
    ],
)  # fmt: skip
def test_unsound_transcripts(events: list[Event], words: str):
    """Gaps, doubles, attempts that are mixed, ends that are missing, doubled, or followed by more."""
    problems = found(*events)
    assert any(words in each for each in problems), problems


def test_a_cancelled_answer_may_have_been_longer_than_what_was_kept():
    """What was said in the last second is not kept; what is kept was said."""
    events = (STARTED, ONE, TWO, event("cancelled", 2, 1))
    assert found(*events, text="a ", status="cancelled") == []
    assert any("beginning" in each for each in found(*events, text="x ", status="cancelled"))


def told(kind: Any, content: Event | None = None, *, asked: int | None = None, recovered: bool = False) -> Told:
    mark = Bookmark() if asked is None else Bookmark(asked, "k")
    return Told(kind, ROOM, "k", 0, 1, event=content, recovered=recovered, asked=mark)


def checked(*record: Told) -> list[str]:
    return transcripts_of(record)[ID].check({"status": "completed", "text": "a b "})


def test_what_a_reset_explains():
    """After it a snapshot may be older than what the reader has, and what follows that comes again."""
    begin = [told("joined"), told("event", STARTED), told("event", ONE), told("event", TWO)]
    older = told("event", whole("snapshot", 1, 0, "", status="running"))
    rest = [older, told("event", ONE), told("event", TWO), told("event", END)]
    assert checked(*begin, told("reset"), *rest) == []
    assert checked(*begin, told("joined", asked=2), *rest) == []
    assert any("which was left" in each for each in checked(*begin, told("joined", asked=2, recovered=True), *rest))
    again = [*begin, told("event", END), told("reset")]
    assert checked(*again, told("event", END)) == []
    assert checked(*again, told("event", whole("snapshot", 1, 2, "a b ", status="completed"))) == []


def test_what_the_snapshot_behind_a_reset_has_may_come_again():
    """The room goes on from where the reset said; who joins anew gets nothing twice."""
    begin = [told("joined"), told("event", STARTED)]
    later = told("event", whole("snapshot", 1, 2, "a b ", status="running"))
    rest = [later, told("event", ONE), told("event", TWO), told("event", END)]
    assert checked(*begin, told("reset"), *rest) == []
    assert any("came again" in each for each in checked(*begin, told("joined", asked=2), *rest))


def test_a_reset_explains_no_gap():
    """A reader that was reset is given what it lacks."""
    record = [told("joined"), told("event", STARTED), told("reset"), told("event", TWO), told("event", END)]
    assert any("a gap" in each for each in checked(*record))


def test_other_events_of_the_room_are_not_of_a_run():
    """A session's room tells of its messages too, and of several runs."""
    message = {"type": "session.message", "data": {"message": {}}}
    other = {**STARTED, "data": {**STARTED["data"], "execution_id": "e2"}}
    record = [told("joined"), told("event", message), *(told("event", each) for each in (STARTED, other, ONE))]
    assert {id: each.place for id, each in transcripts_of(record).items()} == {"e1": (1, 1), "e2": (1, 0)}
    assert Transcript("e3").check({"status": "running", "text": ""}) != []
