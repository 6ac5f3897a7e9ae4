"""The machine: which cores serve and which ask, how many files may be open, and what the reader must know of it."""

import os
import platform
import resource
from dataclasses import dataclass
from datetime import UTC, datetime

# Sockets of 10,000 members, and what else a server has open.
OPEN_FILES = 20_000


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the server under test runs, and where everything else does; the same where a machine has only one to give."""

    server: frozenset[int]
    rest: frozenset[int]

    @property
    def apart(self) -> bool:
        """Whether the server has a core of its own."""
        return not self.server & self.rest


def take_cores() -> Cores | None:
    """Move this process, and so all that it starts, away from the server's core. None where the system cannot pin."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    cores = Cores(frozenset(allowed[:1]), frozenset(allowed[1:] or allowed))
    os.sched_setaffinity(0, cores.rest)
    return cores


def allow_open_files() -> None:
    """Raise the soft limit of open files for this process and its children, as far as the hard one lets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def describe(cores: Cores | None) -> str:
    """Say in one line what was measured on."""
    where = "server on a core of its own" if cores is not None and cores.apart else "server not on a core of its own"
    today = datetime.now(UTC).date().isoformat()
    cpus = f"{os.cpu_count()} CPUs ({platform.machine()}, {platform.system()})"
    return f"{cpus}, {where}; Python {platform.python_version()}; {today}"
