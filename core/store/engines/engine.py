"""One engine under the supervisor's eye: started, asked until it answers, started again when it dies."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.store.engines.layout import Layout
from core.store.engines.processes import processes_in, send, spawn, tail
from core.store.engines.unavailable import explain

# Recovery of a large write-ahead log takes its time, and is no fault.
_START_LIMIT_SECONDS = 300.0
_LEFTOVER_LIMIT_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 5.0
# A first start that fails thrice fails always.
_FIRST_TRIES = 3


@dataclass(slots=True)
class Engine:
    """What to run, and how it is doing. `tick` moves it on and never waits."""

    name: str
    program: str
    command: Sequence[str | Path]
    folder: Path
    stop_signal: signal.Signals
    answers: Callable[[], bool]
    layout: Layout
    say: Callable[[str], None]
    forget_predecessor: Callable[[], None] = lambda: None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    up: bool = field(default=False, init=False)
    was_up: bool = field(default=False, init=False)
    failures: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _leftovers_since: float | None = field(default=None, init=False)

    def tick(self) -> None:
        """Start it, ask it, or note its death. Raises EnginesUnavailable when it has never run and never will."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._not_before and self._alone(now):
                self._start(now)
        elif self.process.poll() is not None:
            self._note_death(now)
        elif not self.up:
            self._ask(now)

    def stop(self, wish: signal.Signals | None = None) -> None:
        """Ask it to stop, cleanly unless `wish` says otherwise; `running` tells when it has."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(wish or self.stop_signal)

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def _alone(self, now: float) -> bool:
        """Wait out, then end, what an earlier supervisor or a killed parent process has left in the folder."""
        leftovers = processes_in(self.folder, self.program)
        if not leftovers:
            self._leftovers_since = None
            self.forget_predecessor()
            return True
        if self._leftovers_since is None:
            self._leftovers_since = now
            self.say(f"{self.name}: stopping what is left of an earlier run: {leftovers}")
            for pid in leftovers:
                send(pid, self.stop_signal)
        elif now - self._leftovers_since > _LEFTOVER_LIMIT_SECONDS:
            for pid in leftovers:
                send(pid, signal.SIGKILL)
        return False

    def _start(self, now: float) -> None:
        try:
            self.process = spawn(
                self.command,
                account=self.layout.account,
                log=self.layout.log(self.name),
                on_orphaned=self.stop_signal,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise explain(f"{self.name} cannot be started.", str(error), self.layout.folder) from error
        self._since = now
        self.say(f"{self.name}: started as process {self.process.pid}")

    def _ask(self, now: float) -> None:
        if self.answers():
            self.up = self.was_up = True
            self.failures = 0
            self.say(f"{self.name}: answers after {now - self._since:.2f} s")
        elif now - self._since > _START_LIMIT_SECONDS:
            self.say(f"{self.name}: no answer in {_START_LIMIT_SECONDS:.0f} s, killed")
            self.stop(signal.SIGKILL)

    def _note_death(self, now: float) -> None:
        assert self.process is not None  # noqa: S101 - for the type checker
        self.say(f"{self.name}: ended with {self.process.returncode}")
        self.process = None
        self.up = False
        self.failures += 1
        if not self.was_up and self.failures >= _FIRST_TRIES:
            raise explain(f"{self.name} does not start.", tail(self.layout.log(self.name)), self.layout.folder)
        # At once after a first death; ever more slowly when it keeps dying.
        self._not_before = now + min(_LONGEST_PAUSE_SECONDS, 0.1 * 2 ** (self.failures - 1) - 0.1)
