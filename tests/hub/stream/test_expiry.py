"""When the end of a credential is announced, and when it is over."""

from datetime import UTC, datetime, timedelta

from hub.stream.expiry import Expiring, Expiry

END = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return the moment so many seconds after the end."""
    return END + timedelta(seconds=seconds)


def test_end_is_announced_once_and_a_minute_before():
    """Not before; another end is another announcement, also an earlier one."""
    expiry = Expiry(60, 10)
    assert expiry.announcement(END, at(-60.001)) is None
    assert expiry.announcement(END, at(-60)) == Expiring(END, 60_000)
    assert expiry.announcement(END, at(-1)) is None
    assert expiry.announcement(at(-30), at(-40)) == Expiring(at(-30), 10_000)


def test_announcement_that_is_late_says_that_nothing_is_left():
    """A node that stood still, or a clock that was set forwards."""
    assert Expiry(60, 10).announcement(END, at(5)) == Expiring(END, 0)


def test_it_is_over_after_the_grace():
    """Ten seconds, to the moment; a credential without end never is."""
    expiry = Expiry(60, 10)
    assert [expiry.is_over(END, at(seconds)) for seconds in (0, 9.999, 10)] == [False, False, True]
    assert not expiry.is_over(None, at(10**9))
    assert expiry.announcement(None, at(0)) is None
