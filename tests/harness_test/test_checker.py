"""The checker finds what it is there to find, and lets pass what the protocol allows. A checker that never fails proves nothing."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.harness.checker import Checker, LiveBooks
from tests.harness.ledger import Logged
from tests.harness.stream_client import Bookmark
from tests.harness.watcher import Told, Watcher

ROOM = "chat:lobby"
LOG = [Logged(n, f"e{n}", "agents:a", {"id": f"e{n}"}) for n in range(1, 7)]
BOOKS = LiveBooks(sent={f"m{n}": ROOM for n in range(1, 7)})


def joined(offset: int, epoch: str = "k", *, asked: int | None = None, recovered: bool = False, on: int = 1) -> Any:
    mark = Bookmark() if asked is None else Bookmark(asked, "k")
    return Told("joined", ROOM, epoch, offset, on, recovered=recovered, asked=mark)


def event(offset: int, epoch: str = "k", *, mark: str = "", on: int = 1) -> Any:
    return Told("event", ROOM, epoch, offset, on, event={"data": {"mark": mark or f"m{offset}"}})


def reset(offset: int, epoch: str, *, reason: str = "epoch", on: int = 1) -> Any:
    return Told("reset", ROOM, epoch, offset, on, reason=reason)


def checked(*records: Sequence[Told], channel: str = ROOM, **options: Any) -> Checker:
    """Check clients with these records."""
    checker = Checker({"k": LOG}, BOOKS, **options)
    watchers = [Watcher([], "", [channel], record=[*record]) for record in records]
    checker.check(watchers)
    return checker


def of_log(*told: Told) -> list[Told]:
    """Return a record of a room as one of the log's."""
    return [
        Told(
            each.kind, "agents", each.epoch, each.offset, each.connection,
            event=None if each.event is None else {"id": f"e{each.offset}"},
            recovered=each.recovered, asked=each.asked, reason=each.reason,
        )
        for each in told
    ]  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        [joined(0), event(1), event(2)],
        [joined(0), event(1), joined(1, asked=1, recovered=True, on=2), event(2, on=2)],
        [joined(4), event(5)],
    ],
)
def test_sound_records_of_a_room(record: list[Told]):
    """From where it joined, on over a return."""
    assert checked(record).problems == []


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ([joined(0), event(2)], "2 came after 0"),
        ([joined(0), event(1), event(1)], "came twice"),
        ([joined(0), event(1), event(3), event(2)], "2 came after 3"),
        ([joined(0), event(1, mark="other-1")], "nobody sent"),
        ([joined(0), event(1), reset(3, "k", reason="history")], "nothing was lost, but"),
        ([joined(0), event(1), joined(3, asked=1, on=2), event(4, on=2)], "not recovered, and no reset"),
        ([event(1)], "begins with"),
        ([], "never joined"),
    ],
)
def test_unsound_records_of_a_room(record: list[Told], words: str):
    """A gap, a double, disorder, a stranger, a reset without need, a silent loss."""
    assert any(words in problem for problem in checked(record).problems)


def test_resets_where_they_may_be():
    """With its reason; what follows goes on from there. An epoch that was left never comes back."""
    away = [joined(0), event(1), reset(0, "l"), event(1, "l", mark="m3")]
    assert checked(away, live_may_reset=True).problems == []
    assert any("without a known reason" in each for each in checked([joined(0), reset(0, "l", reason="")]).problems)
    back = [*away, reset(1, "k")]
    assert any("came back" in each for each in checked(back, live_may_reset=True).problems)


def test_two_clients_see_one_event_at_one_offset():
    """Whoever is told."""
    first, second = [joined(0), event(1)], [joined(0), event(1, mark="m2")]
    assert any("elsewhere" in each for each in checked(first, second).problems)


def test_records_of_the_log_are_held_against_it():
    """Also what is missing at the end; a log of another epoch is another log."""
    whole = of_log(joined(0), *(event(n) for n in range(1, 7)))
    assert checked(whole, channel="agents").problems == []
    assert any("1 of 6 events missed" in each for each in checked(whole[:-1], channel="agents").problems)
    foreign = of_log(joined(5), event(6), event(7))
    assert any("no event of this channel" in each for each in checked(foreign, channel="agents").problems)
    restored = [*whole, *of_log(reset(3, "l", reason="offset"))]
    assert checked(restored, channel="agents", log_may_reset=True).problems == []


def test_totals_are_counted():
    """The ledger of a run."""
    totals = checked([joined(0), event(1), event(4), joined(4, asked=4, recovered=True, on=2)]).totals
    assert (totals.received, totals.recovered, totals.lost, totals.doubled) == (2, 1, 2, 0)
