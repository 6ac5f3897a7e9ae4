"""What kinds of jobs there are: how each is done, how often it is tried, how many at once. No I/O.

JobKind       a name, its handler, and the rules
RetryPolicy   how often, and when again
JobFailed     what a handler raises where trying again is of no use
JobLost       what it meets where the job is no longer its own
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from core.jobs.run import JobRun

# Twice the longest that a healthy worker may be held up, and five beats.
LEASE_SECONDS = 15.0
Handler = Callable[[JobRun], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` in all; after a failure it waits `first_seconds`, then `factor` times as long each time, at most `most_seconds`.

    Of each wait up to the share `jitter` is left out at random, so that what failed together does not come back together.
    """

    attempts: int = 5
    first_seconds: float = 2.0
    factor: float = 4.0
    most_seconds: float = 3600.0
    jitter: float = 0.5

    def wait_after(self, failures: int, rng: random.Random) -> float:
        """Return the seconds to wait after so many failures, from 1 on."""
        # The exponent is bounded too: a float has no more room for 4**600.
        whole = min(self.most_seconds, self.first_seconds * self.factor ** min(failures - 1, 60))
        return whole * (1 - self.jitter * rng.random())


@dataclass(frozen=True, slots=True)
class JobKind:
    """`handler` does one job of the kind and returns its result, which is kept as JSON.

    A worker process does `concurrency` at once, of which one organisation has three quarters at most. An attempt that takes over
    `most_seconds` is ended and counts as failed. `lease_seconds` after its last beat a worker has
    lost the job; it beats five times as often.
    """

    name: str
    handler: Handler
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int = 8
    lease_seconds: float = LEASE_SECONDS
    most_seconds: float = 3600.0

    @property
    def share(self) -> int:
        """How many of one organisation run at once in a process: others find a place at once."""
        return max(1, self.concurrency * 3 // 4)


class JobFailed(Exception):
    """The job cannot be done, now or later: it is not tried again. The message is shown to the organisation."""


def by_name(kinds: Iterable[JobKind]) -> Mapping[str, JobKind]:
    """Return the kinds by their names; raises ValueError where two have one."""
    found: dict[str, JobKind] = {}
    for kind in kinds:
        if kind.name in found:
            raise ValueError(f"two kinds of jobs are called {kind.name}")
        found[kind.name] = kind
    return MappingProxyType(found)
