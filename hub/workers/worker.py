"""One node as a worker: `python -m hub.workers.worker`, started by the parent with its sockets and its line to it.

It ends with the parent, however that ends. Signals are the parent's affair, since a terminal sends them to both: SIGINT and SIGHUP
mean nothing here; SIGTERM means what the parent's `drain` means, and the parent puts another one in its place.
"""

import argparse
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Sequence

from hub.collector import leave, reading

_PR_SET_PDEATHSIG = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Be a worker; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hub.workers.worker")
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--listen", type=int, nargs="+", required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args(argv)
    _end_with_parent(arguments.parent)
    control = socket.socket(fileno=arguments.control)
    sockets = [socket.socket(fileno=each) for each in arguments.listen]
    for each in (control, *sockets):
        each.settimeout(0)
        each.set_inheritable(False)
    with reading():
        from hub.workers.node import serve
    return serve(control, sockets)


def _end_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        os._exit(1)


if __name__ == "__main__":
    leave(main())
