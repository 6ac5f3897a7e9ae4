"""Where the mark of memory comes from, on machines that are made of files here."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from hub.overload.memory import MIB, give_back, limit_of, machine_bytes, memory_of, resident

PAGE = os.sysconf("SC_PAGE_SIZE")


def machine(root: Path, cgroup: str = "", files: Mapping[str, str] | None = None) -> Path:
    """Make a machine with 8 GiB of memory; a name in `files` is below /sys/fs/cgroup."""
    written = {
        "proc/meminfo": f"MemTotal:       {8192 * 1024} kB\nMemFree:        1 kB\n",
        "proc/self/statm": "1000 300 10 1 0 1 0\n",
        "proc/self/cgroup": cgroup,
        **{f"sys/fs/cgroup/{name}": text for name, text in (files or {}).items()},
    }
    for name, text in written.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_setting_is_the_mark_of_the_process_itself(tmp_path: Path):
    """Whatever the group has."""
    files = {"memory.max": str(1024 * MIB), "memory.current": str(900 * MIB)}
    memory = memory_of(100, machine(tmp_path, "0::/\n", files))
    assert (memory.mark, memory.used()) == (100 * MIB, 300 * PAGE)
    assert memory.share == 300 * PAGE / (100 * MIB)


def test_nearest_group_with_a_limit_counts(tmp_path: Path):
    """What it uses of it, without pages of files that the kernel can drop; other processes of it included."""
    root = machine(
        tmp_path,
        "0::/pod/hub\n",
        {
            "pod/hub/memory.max": "max\n",
            "pod/memory.max": f"{1000 * MIB}\n",
            "pod/memory.current": f"{700 * MIB}\n",
            "pod/memory.stat": f"anon 5\ninactive_file {200 * MIB}\nactive_file 7\n",
        },
    )
    memory = memory_of(None, root)
    assert (memory.mark, memory.used()) == (850 * MIB, 500 * MIB)
    assert limit_of(root) == 1000 * MIB


def test_group_of_version_1(tmp_path: Path):
    """In a container the path is one that only the host knows; the mount's own is it then."""
    root = machine(
        tmp_path,
        "9:cpu:/x\n4:memory:/docker/abc\n",
        {
            "memory/memory.limit_in_bytes": str(512 * MIB),
            "memory/memory.usage_in_bytes": str(256 * MIB),
            "memory/memory.stat": f"cache 1\ntotal_inactive_file {56 * MIB}\n",
        },
    )
    memory = memory_of(None, root)
    assert (round(memory.mark / MIB), memory.used()) == (435, 200 * MIB)


@pytest.mark.parametrize("limit", ["9223372036854771712", str(100_000 * MIB), "nonsense", "0"])
def test_without_a_limit_it_is_the_machine(tmp_path: Path, limit: str):
    """Version 1 says so by a number that no machine has."""
    root = machine(tmp_path, "4:memory:/\n", {"memory/memory.limit_in_bytes": limit})
    assert memory_of(None, root).mark == 6144 * MIB
    assert limit_of(root) == 8192 * MIB


def test_system_that_tells_nothing_has_no_mark(tmp_path: Path):
    """Nothing is measured, and nothing given up for it."""
    memory = memory_of(None, tmp_path)
    assert (memory.mark, memory.used(), memory.share) == (0, 0, 0.0)


def test_this_machine():
    """What is read here is what a process of Python can have."""
    if Path("/proc/self/statm").exists():
        assert 10 * MIB < resident() < machine_bytes()
        assert 0 < memory_of(None).mark <= machine_bytes()
    give_back()
