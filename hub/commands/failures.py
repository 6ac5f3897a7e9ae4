"""What a command can fail by, and what a person is told then: a reason, no traceback."""

import asyncpg
from redis.exceptions import RedisError

from core.errors import HubError
from core.settings import SettingsError
from core.store.engines import EnginesUnavailable
from core.store.migrate import MigrationError

FAILURES = (
    SettingsError,
    EnginesUnavailable,
    MigrationError,
    HubError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    RedisError,
    OSError,
)


def reason_of(error: BaseException) -> str:
    """Say why; `error` is one of FAILURES."""
    if isinstance(error, SettingsError | EnginesUnavailable | MigrationError):
        return str(error)
    if isinstance(error, HubError):
        return "\n".join([error.text, *(f"{detail.field}: {detail.message}" for detail in error.details)])
    return f"{error or type(error).__name__}\nWhat is wrong, and its cure: python -m hub doctor"
