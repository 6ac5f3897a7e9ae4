"""Hubs as copies of a process that has read their code already (tests/harness/zygote.py), held as subprocess holds its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness.waiting import wait_until

HERE = Path(__file__).resolve().parents[2]


class Forked:
    """A copy: what of `subprocess.Popen` the harness uses."""

    def __init__(self, pid: int, exit: Path) -> None:
        self.pid = pid
        self._exit = exit
        self._code: int | None = None

    @property
    def returncode(self) -> int:
        """How it ended; it must have."""
        code = self.poll()
        assert code is not None, "it lives"
        return code

    def poll(self) -> int | None:
        """Return how it ended, None while it lives."""
        if self._code is None and self._exit.exists():
            self._code = int(self._exit.read_text())
        return self._code

    def wait(self, timeout: float) -> int:
        """Wait for its end, at most so many seconds."""
        wait_until(lambda: self.poll() is not None, within=timeout, every=0.005, what="a hub has ended")
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Zygote:
    """The process; it is started with the first copy, and ends with this one."""

    def __init__(self) -> None:
        self._asking: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def copy(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        errors: Path | None = None,
    ) -> Forked:
        """Start a hub; returns at once. What it says on stderr goes into the log too, unless `errors` is there for that."""
        exit = log.with_name(f"{log.name}.{time.monotonic_ns()}.exit")
        wanted = {"arguments": list(arguments), "environment": dict(environment), "folder": str(folder)}
        wanted |= {"log": str(log), "errors": str(errors or log), "exit": str(exit)}
        asking = self._connection()
        asking.sendall(json.dumps(wanted).encode() + b"\n")
        answer = asking.recv(64)
        assert answer, "the process that hubs are copies of has ended"
        return Forked(int(answer), exit)

    def close(self) -> None:
        """Let it end; its copies are whoever's that made them."""
        if self._asking is not None and self._process is not None:
            self._asking.close()
            self._process.wait(10)
            self._asking = self._process = None

    def _connection(self) -> socket.socket:
        if self._asking is None or self._process is None or self._process.poll() is not None:
            if self._asking is not None:
                self._asking.close()
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.harness.zygote", str(theirs.fileno())],
                    cwd=HERE,
                    # One thread: a copy has no other than that which made it.
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            self._asking = ours
        return self._asking


ZYGOTE = Zygote()
IS_POSSIBLE = sys.platform == "linux" and hasattr(os, "fork") and hasattr(signal, "set_wakeup_fd")
