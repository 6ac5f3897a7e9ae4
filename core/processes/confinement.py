"""What a confined process may do: compute. Limits of the operating system, for this process, which cannot lift them again.

Of what hostile input makes a library do, this keeps: opening any file or socket, writing files, starting processes,
taking more memory than it has, going on when the hub has gone.
"""

import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
# Standard input and output, the errors, and the pipe that answers go through.
_OPEN_FILES = 4
_STATUS_BYTES = 8192


def end_with(parent: int) -> None:
    """Have the kernel end this process when `parent` does; elsewhere the end of its input must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # It died before the kernel knew.
            os._exit(1)


def confine(memory: int) -> None:
    """Give up the rights; `memory` is in bytes of address space. To be called when all that is needed is loaded."""
    if sys.platform == "win32":
        return
    import resource

    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    # No descriptor above those that are open can be made.
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if sys.platform == "linux":
        _lower(resource.RLIMIT_NPROC, 0)
        # macOS refuses a limit of the address space below what it has mapped, which is terabytes.
        _lower(resource.RLIMIT_AS, memory)


def peak_memory() -> Callable[[], int]:
    """Return what tells the most bytes that this process has had in memory. To be called before `confine`."""
    if sys.platform == "win32":
        return lambda: 0
    if sys.platform == "linux":
        # getrusage counts what the parent had before exec as well: a large hub would have parsers that are full from the start.
        status = os.open("/proc/self/status", os.O_RDONLY)
        return lambda: _peak_in(os.pread(status, _STATUS_BYTES, 0))
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _peak_in(status: bytes) -> int:
    """Return VmHWM of proc_pid_status(5), which is in KiB; 0 where it is not told."""
    found = re.search(rb"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _lower(which: int, limit: int) -> None:
    import resource

    _, hard = resource.getrlimit(which)
    least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (least, least))
