"""When a twin's data is fetched: hourly, daily, weekly, or by a cron expression of five fields, in UTC. No I/O.

Each twin has its own delay behind the time of its schedule, always the same: twins of one schedule do not all come at once.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from cronsim import CronSim, CronSimError

_WORDS = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 1"}
_FIELDS = 5
# Five minutes of an hour are no matter; whoever writes a cron expression means the minute.
_SPREAD_SECONDS, _CRON_SPREAD_SECONDS = 300, 30
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def checked(schedule: str) -> str:
    """Return a schedule that is one; raises ValueError."""
    if schedule in _WORDS:
        return schedule
    if len(schedule.split()) != _FIELDS:
        raise ValueError("Must be hourly, daily, weekly, or a cron expression of five fields, such as 30 6 * * 1-5")
    try:
        next(CronSim(schedule, _ANY_TIME))
    except CronSimError as error:
        raise ValueError(f"Is no cron expression: {error}") from error
    except StopIteration as error:
        raise ValueError("Is a cron expression of a time that never comes") from error
    return schedule


def next_time(schedule: str, twin_id: UUID, moment: datetime) -> datetime:
    """Return the first time after `moment` at which this twin's data is to be fetched."""
    spread = _SPREAD_SECONDS if schedule in _WORDS else _CRON_SPREAD_SECONDS
    delay = timedelta(seconds=twin_id.int % spread)
    expression = _WORDS.get(schedule, schedule)
    found: datetime = next(CronSim(expression, moment - delay))
    return found + delay


def put_off(scheduled: datetime, failures: int, now: datetime) -> datetime:
    """Return when a source is asked again that has failed so often in a row: a minute later, then twice as long, a day at most."""
    minutes = min(2 ** min(failures - 1, 20), 24 * 60)
    return max(scheduled, now + timedelta(minutes=minutes))
