"""The process that owns both engines: `python -m core.store.engines.supervisor FOLDER_OF_DATA ENGINE_USER`.

Detached from whoever starts it; lives until two seconds after the last hub process has gone, however that one went. One
thread and no event loop: what it starts must die with it, and the kernel ties that to the thread. It is a program of its
own, so it reads the machine's time.
"""

import fcntl
import json
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

from core.store.engines.engine import Engine
from core.store.engines.layout import Layout, follow_data, give_to_owner, locate, make_folder
from core.store.engines.postgres import bootstrap, postgres_engine
from core.store.engines.presence import Readers, announce
from core.store.engines.programs import usable_programs
from core.store.engines.unavailable import OWN_ENGINES, EnginesUnavailable, explain
from core.store.engines.valkey import valkey_engine

_LINGER_SECONDS = 2.0  # a hub that is restarted finds its engines warm
_STEP_SECONDS = 0.01  # between two questions to an engine that starts
_ROUND_SECONDS = 10.0  # between two looks at the logs' sizes
_LARGEST_LOG = 8 << 20
_PATIENCE_WITH_STOP_SECONDS = 30.0


class Supervisor:
    """Both engines, from the lock to the clean stop."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._wakeup, self._stopping = _catch_signals()
        self._engines: list[Engine] = []
        self._readers: Readers | None = None

    def run(self) -> None:
        """Take the lock, or leave when another supervisor serves; then own the engines until nobody needs them."""
        lock = os.open(self._layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        give_to_owner(self._layout, self._layout.lock)
        if not self._take(lock):
            return
        self._tell("starting")
        self._readers = Readers(self._layout)
        try:
            self._start()
            self._serve(self._readers)
        except EnginesUnavailable as error:
            say(str(error))
            self._stop()
            self._tell("failed", str(error))
        else:
            self._tell("stopped")

    def _take(self, lock: int) -> bool:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                served = announce(self._layout)
                if served is not None:
                    os.close(served)
                    return False
                self._pause(0.02)  # The other one is stopping.
            else:
                return True
            if self._stopping:
                return False

    def _start(self) -> None:
        say(f"supervisor {os.getpid()} for {self._layout.data}")
        _make_owned_folders(self._layout)
        programs = usable_programs(self._layout)
        valkey = valkey_engine(self._layout, programs, say)
        self._engines.append(valkey)
        valkey.tick()  # It loads its data while PostgreSQL's cluster is made.
        self._engines.append(postgres_engine(self._layout, programs, say))
        while not all(engine.up for engine in self._engines):
            if self._stopping:
                return
            for engine in self._engines:
                engine.tick()
            self._pause(_STEP_SECONDS)
        if not self._layout.bootstrapped.exists():
            bootstrap(self._layout)
            self._layout.bootstrapped.touch(0o600)
            give_to_owner(self._layout, self._layout.bootstrapped)
        self._tell("ready")

    def _serve(self, readers: Readers) -> None:
        alone_since: float | None = None
        while not self._stopping:
            for engine in self._engines:
                engine.tick()
            for name in ("supervisor", "postgres", "valkey"):
                bound(self._layout.log(name))
            now = time.monotonic()
            if readers.anybody:
                alone_since = None
            else:
                alone_since = now if alone_since is None else alone_since
                if now - alone_since >= _LINGER_SECONDS and readers.retire():
                    break
            settled = all(engine.up for engine in self._engines)
            if alone_since is not None:
                self._pause(0.05 if settled else _STEP_SECONDS)
            else:
                self._pause(_ROUND_SECONDS if settled else _STEP_SECONDS, readers.descriptor)
        else:
            os.close(readers.descriptor)
        self._stop()

    def _stop(self) -> None:
        for engine in self._engines:
            engine.stop()
        deadline = time.monotonic() + _PATIENCE_WITH_STOP_SECONDS
        while any(engine.running for engine in self._engines):
            if time.monotonic() > deadline:
                say("an engine did not stop in time: killed")
                for engine in self._engines:
                    engine.stop(signal.SIGKILL)
            self._pause(0.05)
        say("stopped")

    def _pause(self, seconds: float, *descriptors: int) -> None:
        poll = select.poll()
        for descriptor in (self._wakeup, *descriptors):
            poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)
        try:
            os.read(self._wakeup, 512)
        except BlockingIOError:
            return

    def _tell(self, phase: str, error: str = "") -> None:
        """Write the state for those who wait; whole or not at all."""
        unfinished = self._layout.state.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"phase": phase, "supervisor": os.getpid(), "error": error}))
        give_to_owner(self._layout, unfinished)
        unfinished.rename(self._layout.state)


def say(text: str) -> None:
    """Write a line to the supervisor's log, which is its standard error."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
    sys.stderr.flush()


def _catch_signals() -> tuple[int, list[int]]:
    """Return a descriptor that wakes on signals, and a list that has entries once one of them asked to stop."""
    stopping: list[int] = []
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for wish in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wish, lambda number, _frame: stopping.append(number))
    for ignored in (signal.SIGCHLD, signal.SIGHUP):  # Handlers, since SIG_IGN would be inherited by the engines.
        signal.signal(ignored, lambda _number, _frame: None)
    return reading, stopping


def _require_space(layout: Layout) -> None:
    """Raise OSError where nothing can be written: the state and the log of a supervisor could not say so."""
    probe = layout.folder / f"probe.{os.getpid()}"
    try:
        probe.write_bytes(b"." * 4096)
    finally:
        probe.unlink(missing_ok=True)


def _make_owned_folders(layout: Layout) -> None:
    """Create what the engines' account has to own. Raises EnginesUnavailable where that fails, or a stranger was here first."""
    try:
        aside = follow_data(layout)
        if aside is not None:
            say(f"{layout.data} is new: the data of the one before it is in {aside}")
        for folder in (layout.run, layout.valkey):
            if folder.is_symlink() or not folder.is_dir():
                folder.mkdir(mode=0o700)
            _hand_over(layout, folder)
        for name in ("postgres", "valkey"):
            layout.log(name).touch(0o600)
            give_to_owner(layout, layout.log(name))
    except OSError as error:
        raise explain(f"{error.filename} cannot be used.", str(error), layout.folder) from error


def _hand_over(layout: Layout, folder: Path) -> None:
    owner = os.geteuid() if layout.account is None else layout.account.uid
    found = folder.lstat().st_uid
    if found not in (owner, os.geteuid()):
        raise EnginesUnavailable(
            f"{folder} belongs to another account (uid {found}): remove it, or give another HUB_DATA. {OWN_ENGINES}"
        )
    if layout.account is not None:
        os.chown(folder, layout.account.uid, layout.account.gid, follow_symlinks=False)


def bound(log: Path) -> None:
    """Keep the newest part in the file and one part before it. The engine goes on writing: it appends."""
    if log.stat().st_size > _LARGEST_LOG:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)


def main(data: str, user: str) -> int:
    """Detach, print the supervisor's pid, and supervise.

    What can be known to fail before that is said on standard error, with 1 as the exit status.
    """
    try:
        layout = locate(Path(data), user)
        make_folder(layout)
        _require_space(layout)
        log = os.open(layout.log("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        give_to_owner(layout, layout.log("supervisor"))
    except (EnginesUnavailable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    child = os.fork()
    if child:
        sys.stdout.write(f"{child}\n")
        return 0  # Nobody's child from now on: it outlives, and is no zombie of, whoever started it.
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    for standard in (1, 2):
        os.dup2(log, standard)
    Supervisor(layout).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
