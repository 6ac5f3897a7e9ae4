"""Start programs that die with this process, and find what an earlier one has left in a data folder."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from core.store.engines.account import Account

_PR_SET_PDEATHSIG = 1


def spawn(
    command: Sequence[str | Path], *, account: Account | None, log: Path, on_orphaned: signal.Signals
) -> subprocess.Popen[bytes]:
    """Start `command` as `account`, its output appended to `log`; the kernel sends `on_orphaned` when this process dies.

    To be called from the main thread: the kernel means the death of the *thread*. Raises OSError where it cannot be started.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_environment(),
            umask=0o077,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
            # Runs after the change of account, which would clear the wish. The supervisor has one thread: nothing can
            # hold a lock that the child needs.
            preexec_fn=_die_with_parent(on_orphaned),  # noqa: PLW1509
        )
    finally:
        os.close(output)


def run_to_end(command: Sequence[str | Path], *, account: Account | None, log: Path) -> None:
    """Run `command` as `account`. Raises OSError, or CalledProcessError with its output, when it fails."""
    before = log.stat().st_size if log.exists() else 0
    process = spawn(command, account=account, log=log, on_orphaned=signal.SIGKILL)
    if process.wait() != 0:
        with log.open("rb") as file:
            file.seek(before)
            output = file.read().decode(errors="replace")
        raise subprocess.CalledProcessError(process.returncode, str(command[0]), output)


def processes_in(folder: Path, name: str) -> list[int]:
    """Return the living processes of the program `name` that work in `folder`, as both engines do in their data's."""
    if sys.platform == "linux":
        return [pid for entry in os.listdir("/proc") if entry.isdigit() and _works_in(pid := int(entry), folder, name)]
    return _listed_by_lsof(folder, name)


def send(pid: int, wish: signal.Signals) -> None:
    """Signal a process that may have gone already."""
    try:
        os.kill(pid, wish)
    except ProcessLookupError:
        return


def tail(path: Path, size: int = 2000) -> str:
    """Return the last lines of a log, at most `size` bytes."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _environment() -> dict[str, str]:
    """The engines see nothing of the hub's environment: it holds secrets."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept}


def _die_with_parent(wish: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None  # The next supervisor stops what it finds in the data folder.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(wish), 0, 0, 0)
        if os.getppid() != parent:  # It died before the kernel knew.
            os._exit(1)

    return ask_kernel


def _works_in(pid: int, folder: Path, name: str) -> bool:
    try:
        # A zombie has no working folder: readlink fails.
        return Path(f"/proc/{pid}/comm").read_text().strip() == name and os.readlink(f"/proc/{pid}/cwd") == str(folder)
    except OSError:
        return False


def _listed_by_lsof(folder: Path, name: str) -> list[int]:
    command = ["/usr/sbin/lsof", "-a", "-d", "cwd", "-c", name, "-F", "pn"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    found: list[int] = []
    pid = 0
    for line in listing.splitlines():
        if line.startswith("p"):
            pid = int(line[1:])
        elif line == f"n{folder}":
            found.append(pid)
    return found
