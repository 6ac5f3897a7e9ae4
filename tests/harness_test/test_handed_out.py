"""The ledger of subscriptions complains of each way to be wrong, and of nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from tests.harness.handed_out import DEAD_LETTERED, Entry, History, Letter, Promise, Receipt, Totals, problems_of

LOG = [
    Entry(1, "e1", "agent.created", "agents/a", "d1"),
    Entry(2, "e2", "twin.created", "twins/t", "d2"),
    Entry(3, "e3", "agent.updated", "agents/a", "d3"),
    Entry(4, "e4", "agent.created", "agents/b", "d4"),
    Entry(5, "e5", "agent.updated", "agents/a", "d5"),
]
PULL = Promise("books", "s", types=("agent.*",), attempts=3)
ORDERED = replace(PULL, ordered=True)
SOCKET = replace(PULL, gives_back=True)
HOOK = replace(PULL, leases=False)


def given(position: int, at: float, *, attempt: int = 1, **more: Any) -> Receipt:
    """Return an event that came at a time and was acknowledged a tenth of a second later."""
    usual: dict[str, Any] = {"how": "ack", "said_at": at + 0.1, "done": True, "until": at + 2}
    hold = f"{position}.{attempt}"
    return Receipt(hold, at, position, f"e{position}", f"d{position}", attempt=attempt, **{**usual, **more})


def posted(position: int, at: float, **more: Any) -> Receipt:
    """Return what an endpoint was posted, and answered with 200."""
    usual: dict[str, Any] = {"until": inf, "done": None}
    return replace(given(position, at, **{**usual, **more}), attempt=0, hold=f"{position} at {at}")


ALL = [given(1, 1), given(3, 2), given(4, 3), given(5, 4)]
POSTED = [posted(1, 1), posted(3, 2), posted(4, 3), posted(5, 4)]
SILENT: dict[str, Any] = {"how": None, "said_at": inf, "done": None}
UNKNOWN: dict[str, Any] = {"done": None}


@pytest.mark.parametrize(
    "receipts",
    [
        ALL,
        [*ALL[1:], given(1, 1, how="refuse"), given(1, 5, attempt=2)],
        [*ALL[1:], given(1, 1, **SILENT), given(1, 3.1, attempt=2)],
        [*ALL[1:], given(1, 1, **UNKNOWN), given(1, 3.1, attempt=2)],
        [*ALL[1:], given(1, 1, **UNKNOWN)],
        [*ALL[1:], given(1, 1, done=False), given(1, 3.1, attempt=2)],
    ],
    ids=["once", "refused", "silent", "answered into nothing", "acknowledged into nothing", "too late"],
)
def test_what_is_as_promised(receipts: Sequence[Receipt]):
    """Once, or again for a reason."""
    assert problems_of(PULL, LOG, History(receipts)) == []


@pytest.mark.parametrize(
    ("receipts", "words"),
    [
        (ALL[1:], "1 (agent.created) was lost"),
        (
            [*ALL[1:], given(1, 1, how="refuse")],
            "1 (agent.created) was given and not acknowledged, and never came again",
        ),
        ([*ALL[1:], given(1, 1, done=False)], "1 (agent.created) was given and not acknowledged, and never came again"),
        ([*ALL, given(1, 9, attempt=2)], "1 came again, by attempt 2, after it was done"),
        ([*ALL, given(1, 1)], "the lease 1.1 was given 2 times"),
        ([*ALL, replace(given(1, 9), hold="other")], "1: attempt 1 was given twice"),
        (
            [*ALL[1:], given(1, 1, **SILENT), given(1, 2.5, attempt=2)],
            "1: attempt 2 was given 0.500 s before the lease of 1 ended",
        ),
        (
            [*ALL[1:], given(1, 1, **UNKNOWN), given(1, 2.5, attempt=2)],
            "1: attempt 2 was given 0.500 s before the lease of 1 ended",
        ),
        ([*ALL[1:], given(1, 1, attempt=2)], "1: 1 attempts reached nobody, and 0 answers were lost"),
        ([*ALL, given(2, 5)], "2 was given, and is not for it"),
        ([*ALL, given(6, 5)], "6 was given, and is not in the log"),
        ([*ALL[1:], replace(ALL[0], event_id="e9")], "1 came as e9, and is e1 in the log"),
        ([*ALL[1:], replace(ALL[0], digest="d9")], "1 has other data than in the log"),
    ],
)
def test_what_is_wrong_is_found(receipts: Sequence[Receipt], words: str):
    """Lost, doubled for no reason, held by two, given to the wrong one, altered: each is named."""
    assert f"books: {words}" in problems_of(PULL, LOG, History(receipts))


def test_attempt_may_get_lost_with_an_answer():
    """A pull whose answer never came has taken events."""
    assert problems_of(PULL, LOG, History([*ALL[1:], given(1, 1, attempt=2)], unanswered=1)) == []


def test_lease_ends_with_its_connection_only_by_socket():
    """What a socket leaves is given to another at once; what a puller leaves is not."""
    left = [*ALL[1:], given(1, 1, **SILENT, ended=1.5), given(1, 1.6, attempt=2)]
    assert problems_of(SOCKET, LOG, History(left)) == []
    assert len(problems_of(PULL, LOG, History(left))) == 1
    silent = [*ALL[1:], given(1, 1, **SILENT), given(1, 1.6, attempt=2)]
    assert len(problems_of(SOCKET, LOG, History(silent))) == 1
    assert problems_of(SOCKET, LOG, History(silent, faults=[(1.2, 1.9)])) == []


def test_order_of_a_subject():
    """What another subject does, and what came when its lease had ended, changes nothing."""
    late = given(1, 9, until=1.05, **SILENT)
    again = given(1, 1.1, attempt=2)
    assert problems_of(ORDERED, LOG, History([given(4, 0), late, again, *ALL[1:2], *ALL[3:]])) == []


@pytest.mark.parametrize(
    ("receipts", "words"),
    [
        ([given(1, 2), given(3, 1), *ALL[2:]], "3 of agents/a came before 1 was settled"),
        ([given(1, 2), given(3, 1), *ALL[2:]], "1 of agents/a came after 3"),
        ([given(1, 1, said_at=2.05), *ALL[1:]], "3 of agents/a came before 1 was settled"),
        (
            [given(1, 1, **UNKNOWN), given(1, 3.5, attempt=2), *ALL[1:]],
            "1 of agents/a came after 3",
        ),
    ],
)
def test_disorder_is_found(receipts: Sequence[Receipt], words: str):
    """Reordered, two at once, one that comes back when the next was given already."""
    assert f"books: {words}" in problems_of(ORDERED, LOG, History(receipts))
    assert not any(words in each for each in problems_of(PULL, LOG, History(receipts)))


@pytest.mark.parametrize(
    ("again", "faults", "is_right"),
    [
        ([], (), True),
        ([posted(1, 20)], (), False),
        ([posted(1, 20)], [(1.5, 3.0)], True),
        ([posted(1, 20)], [(15.0, 20.0)], False),
        ([posted(1, 0.5, how="refuse")], (), True),
        ([posted(1, 0.5, **SILENT)], (), True),
    ],
)
def test_posts_come_twice_for_a_reason(
    again: Sequence[Receipt], faults: Sequence[tuple[float, float]], *, is_right: bool
):
    """After an answer only with a fault of the hub about that time."""
    found = problems_of(HOOK, LOG, History([*POSTED, *again], faults=faults))
    assert found == ([] if is_right else ["books: 1 was posted again 18.900 s after it was answered, for no reason"])


def test_replay_and_start_have_bounds():
    """What is in front of the start, or behind a replay's end, is not for it."""
    some = replace(PULL, behind=1, upto=4, replayed=True)
    assert problems_of(some, LOG, History(ALL[1:3])) == []
    assert len(problems_of(some, LOG, History(ALL))) == 2


def letter(position: int, *, reason: str = "rejected", attempts: int = 1) -> Letter:
    return Letter(
        f"l{position}", "s", position, f"e{position}", replayed=False, reason=reason, attempts=attempts, died_at=5.0
    )


def announced(*letters: str) -> list[Entry]:
    return [
        *LOG,
        *(Entry(6 + n, f"x{n}", DEAD_LETTERED, "subscriptions/s", "", each) for n, each in enumerate(letters)),
    ]


def test_dead_letters_as_promised():
    """Refused for good, or tried as often as it may be; announced once. What follows in order does not wait for them."""
    refused = given(1, 1, how="bury")
    assert problems_of(ORDERED, announced("l1"), History([refused, *ALL[1:]], [letter(1)])) == []
    tried = [given(5, 4, how="refuse"), given(5, 5, attempt=2, how="refuse"), given(5, 6, attempt=3, how="refuse")]
    worn = letter(5, reason="max_deliveries", attempts=3)
    assert problems_of(ORDERED, announced("l5"), History([*ALL[:3], *tried], [worn])) == []


@pytest.mark.parametrize(
    ("told", "receipts", "grave", "words"),
    [
        ("l1", ALL, letter(1), "1 is a dead letter, and was acknowledged"),
        ("l1", ALL[1:], letter(1), "1 is a dead letter, and nobody refused it for good"),
        ("", [given(1, 1, how="bury"), *ALL[1:]], letter(1), "the dead letter of 1 was announced 0 times"),
        ("l1 l1", [given(1, 1, how="bury"), *ALL[1:]], letter(1), "the dead letter of 1 was announced 2 times"),
        ("l1", ALL[1:], letter(1, reason="max_deliveries"), "1 is a dead letter after 1 of 3 attempts"),
        ("l2", ALL, letter(2), "2 is a dead letter, and not for it"),
    ],
)
def test_dead_letters_that_are_wrong(told: str, receipts: Sequence[Receipt], grave: Letter, words: str):
    """A grave without a death, a death without a word."""
    assert f"books: {words}" in problems_of(PULL, announced(*told.split()), History(receipts, [grave]))


def test_totals_are_counted():
    """Doubles are what came more than once, whatever the reason."""
    totals = Totals()
    history = History([*ALL[1:], given(1, 1, how="refuse"), given(1, 5, attempt=2)], unanswered=2)
    totals.count(PULL.wanted(LOG), history)
    assert (totals.wanted, totals.received, totals.doubled, totals.most_attempts) == (4, 5, 1, 2)
    assert "doubles 1 (after: 1 a refusal)" in totals.lines()
