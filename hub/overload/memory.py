"""How much memory there is, and how much of it is used. Of Linux; elsewhere only the setting gives a mark, and nothing is measured.

Where a control group bounds this process, its use counts, for that is what the kernel kills by: other workers and engines of the
group are in it. Else that of the process itself.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
# Of the group's limit, and of the machine's memory, which is there for PostgreSQL and Redis too.
GROUP_SHARE = 0.85
MACHINE_SHARE = 0.75
# Version 1 says "no limit" by a number as large as this.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class Memory:
    """What is used, in bytes, and the mark beside it; 0: there is none."""

    used: Callable[[], int]
    mark: int

    @property
    def share(self) -> float:
        """How much of the mark is used."""
        return self.used() / self.mark if self.mark else 0.0


def memory_of(mib: int | None, root: Path = Path("/")) -> Memory:
    """Return the process' memory with a mark of `mib`, or, without one, of its control group or of the machine."""
    if mib is not None:
        return Memory(lambda: resident(root), mib * MIB)
    group = _group(root)
    if group is not None:
        return group
    return Memory(lambda: resident(root), round(machine_bytes(root) * MACHINE_SHARE))


def limit_of(root: Path = Path("/")) -> int:
    """Return how much this process can have at all: of its group or of the machine; 0 where that is unknown."""
    group = _group(root)
    return round(group.mark / GROUP_SHARE) if group is not None else machine_bytes(root)


def resident(root: Path = Path("/")) -> int:
    """Return what the process has in memory; 0 where the system does not say."""
    try:
        return int((root / "proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def machine_bytes(root: Path = Path("/")) -> int:
    """Return the machine's memory; 0 where the system does not say."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


def give_back() -> None:
    """Have the allocator return what it keeps to the system: else what is used stays at its highest. Of glibc."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def _group(root: Path) -> Memory | None:
    """Return the use of the nearest control group that has a limit below the machine's memory; None without one."""
    machine = machine_bytes(root) or _NO_LIMIT
    for folder, names in _groups(root):
        limit = _number(folder / names[0])
        if limit is not None and 0 < limit < min(machine, _NO_LIMIT):
            return Memory(lambda folder=folder, names=names: _used(folder, names), round(limit * GROUP_SHARE))
    return None


_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _groups(root: Path) -> list[tuple[Path, tuple[str, str, str]]]:
    """Return the groups that this process is in, the innermost first."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[Path, tuple[str, str, str]]] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            found += [(each, _V2) for each in _upwards(root / "sys/fs/cgroup", path)]
        elif "memory" in controllers.split(","):
            found += [(each, _V1) for each in _upwards(root / "sys/fs/cgroup/memory", path)]
    return found


def _upwards(mount: Path, path: str) -> list[Path]:
    """Return a group and those around it. Inside a container the path may be one that only the host has."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [mount.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _used(folder: Path, names: tuple[str, str, str]) -> int:
    """Return what the group uses, without pages of files that the kernel can drop."""
    used = _number(folder / names[1]) or 0
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        droppable = next((int(line.split()[1]) for line in lines if line.split()[0] == names[2]), 0)
    except (OSError, ValueError, IndexError):
        droppable = 0
    return max(0, used - droppable)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # it is not there, or says "max"
        return None
