"""Schedules: which there are, when they come, and how failures put them off."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from handlers.twins.sync.schedule import checked, next_time, put_off

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)  # a Thursday
ON_TIME = UUID(int=0)
LATE = UUID(int=299)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("hourly", datetime(2026, 1, 1, 13, tzinfo=UTC)),
        ("daily", datetime(2026, 1, 2, tzinfo=UTC)),
        ("weekly", datetime(2026, 1, 5, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 1, 1, 12, 15, tzinfo=UTC)),
        ("30 6 * * 1-5", datetime(2026, 1, 2, 6, 30, tzinfo=UTC)),
    ],
)
def test_times_are_those_of_the_schedule(schedule: str, expected: datetime):
    assert checked(schedule) == schedule
    assert next_time(schedule, ON_TIME, NOON) == expected


def test_twins_of_one_schedule_do_not_come_at_once():
    """Each has its own delay, always the same: none of its times is left out, and it never comes twice for one."""
    assert next_time("hourly", LATE, NOON) == NOON + timedelta(seconds=299)
    first = next_time("hourly", LATE, NOON + timedelta(seconds=299))
    assert first == NOON + timedelta(hours=1, seconds=299)
    assert next_time("*/1 * * * *", LATE, NOON) == NOON + timedelta(seconds=29)


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "Hourly",
        "often",
        "@hourly",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "0 0 30 2 *",
        "a b c d e",
        "*/0 * * * *",
    ],
)
def test_what_is_no_schedule_is_refused(schedule: str):
    """Seconds too: a source is asked every minute at most."""
    with pytest.raises(ValueError, match=r"Must be|Is no|Is a cron"):
        checked(schedule)


def test_failures_put_it_off():
    """Twice as long each time, up to a day; never to before its schedule."""
    soon, hour = NOON + timedelta(seconds=1), NOON + timedelta(hours=1)
    assert [put_off(soon, failures, NOON) - NOON for failures in (1, 2, 3)] == [
        timedelta(minutes=minutes) for minutes in (1, 2, 4)
    ]
    assert put_off(soon, 10_000, NOON) == NOON + timedelta(days=1)
    assert put_off(hour, 1, NOON) == hour
