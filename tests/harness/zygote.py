"""A process that has read the hub's code once, and of which hubs of tests are copies: reading it takes two seconds of each start.

    in    a line of JSON: {"arguments", "environment", "folder", "log", "errors", "exit"}
    out   the copy's pid; its exit code, once it has ended, stands in the file `exit`

It ends with whoever holds the other end of its socket. What a copy does is `python -m hub` from its first line on.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import hub.commands.line
import hub.main  # what is read here, no copy reads

assert hub.commands.line.main is not None
assert hub.main.Hub is not None


def serve(asking: socket.socket) -> None:
    """Make copies until nobody asks any more; in each copy this does not return, but ends as the hub does."""
    wakes, woken = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, _woken)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    exits: dict[int, Path] = {}
    # A copy that looked for garbage in what was read, as each does at its end, would find none and copy all its pages.
    gc.collect()
    gc.freeze()
    while True:
        ready, _, _ = select.select([asking, wakes], [], [])
        if wakes in ready:
            os.read(wakes, 4096)
            _reap(exits)
        if asking in ready:
            line = _line(asking)
            if not line:
                return
            wanted = json.loads(line)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (wakes, woken, asking.detach()):
                    os.close(each)
                _become(wanted)
            exits[pid] = Path(wanted["exit"])
            asking.sendall(b"%d\n" % pid)


def _woken(_number: int, _frame: FrameType | None) -> None:
    """What wakes the loop is the pipe; without a handler nothing is written into it."""


def _line(asking: socket.socket) -> bytes:
    # Who asks waits for its answer: there is never more than one.
    line = b""
    while not line.endswith(b"\n"):
        piece = asking.recv(1 << 16)
        if not piece:
            return b""
        line += piece
    return line


def _reap(exits: dict[int, Path]) -> None:
    while exits:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        path = exits.pop(pid)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(str(os.waitstatus_to_exitcode(status)))
        unfinished.rename(path)


def _become(wanted: dict[str, Any]) -> None:
    """Be the hub: a session of its own, its log, its environment. Raises SystemExit at its end."""
    os.setsid()
    os.chdir(wanted["folder"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = _opened(wanted["log"])
    # One description where it is one file: what is written by either comes after what is there.
    errors = os.dup(log) if wanted["errors"] == wanted["log"] else _opened(wanted["errors"])
    for standard, of in enumerate((nothing, log, errors)):
        os.dup2(of, standard)
        os.close(of)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.argv = ["hub", *wanted["arguments"]]
    runpy.run_module("hub", run_name="__main__", alter_sys=True)
    raise SystemExit(0)


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
