"""A pytest plugin: no test may hold the run, with its fixtures, whatever it waits for or spins in.

    after its deadline     the stacks of all threads and tasks are printed, and the test fails where it stands
    each GRACE later       the same again: for a teardown that does not end either, or where something has swallowed the failure
    after FAILURES         the run ends: failures so far are printed, processes that it has started are killed

`deadline` of the configuration is how many seconds a test has; `@pytest.mark.deadline(seconds)` gives one more, 0 is for ever.
Collecting and the end of the run have a deadline too. Nothing is interrupted under `--pdb` or `--trace`.

pytest-timeout does not do here: uvloop takes an exception of its signal handler for that of a callback and goes on, it guards no
fixture's end after a failure, and it knows nothing of tasks.
"""

import asyncio
import contextlib
import faulthandler
import gc
import os
import signal
import sys
import threading
from collections.abc import Generator
from types import FrameType
from typing import Any, TextIO

import psutil
import pytest

from tests.harness.stacks import stacks

GRACE_SECONDS = 30.0
FAILURES = 3
ENDED = 70  # EX_SOFTWARE: no exit code of pytest


class Deadline:
    """Watches over what the main thread does, from a thread of its own. `begin` and `end` are called in the main thread."""

    def __init__(self, config: pytest.Config, out: TextIO) -> None:
        self.seconds = float(config.getini("deadline"))
        self._grace = float(config.getini("deadline_grace"))
        self._config = config
        self._out = out
        self.is_in_test = False
        self._missed = ""
        self._ended = threading.Event()
        self._main = threading.main_thread().ident or 0
        signal.signal(signal.SIGALRM, self._fail)

    def begin(self, what: str, seconds: float) -> None:
        """Give it so many seconds from now."""
        self._missed, self._ended = "", threading.Event()
        if seconds > 0:
            # Where Python itself cannot be interrupted: prints and ends the process without it.
            most = seconds + (FAILURES + 1) * self._grace
            faulthandler.dump_traceback_later(most, exit=True, file=self._out)
            watch = (what, seconds, self._ended)
            threading.Thread(target=self._watch, args=watch, name="deadline", daemon=True).start()

    def end(self) -> None:
        """Take the deadline away."""
        self._ended.set()
        faulthandler.cancel_dump_traceback_later()

    def missed(self) -> str:
        """Return what was missed since this was asked last, or nothing."""
        missed, self._missed = self._missed, ""
        return missed

    def _watch(self, what: str, seconds: float, ended: threading.Event) -> None:
        wait = seconds
        for _ in range(FAILURES):
            if ended.wait(wait):
                return
            late = f"{what} did not end within {seconds:g} s"
            self._out.write(f"\n+++ {late}, and stands here:\n{stacks()}\n+++ {late}\n")
            self._out.flush()
            self._missed = late
            signal.pthread_kill(self._main, signal.SIGALRM)
            wait = self._grace
        if not ended.wait(wait):
            self._end_the_run(f"{what} cannot be ended: the run ends here")

    def _fail(self, _number: int, _frame: FrameType | None) -> None:
        """Raise where the main thread is. A loop that waits, or another task that spins, would take that for its own: stop it."""
        if not self._missed or not self.is_in_test or self._ended.is_set():
            return
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().stop()
        pytest.fail(self._missed)

    def _end_the_run(self, why: str) -> None:
        try:
            _print_failures(self._config)
        finally:
            self._out.write(f"\n+++ {why}\n")
            self._out.flush()
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
            os._exit(ENDED)


def _print_failures(config: pytest.Config) -> None:
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:  # a worker's: the run goes on without it, and tells them
        return
    capture.suspend_global_capture(in_=True)
    reporter.summary_errors()
    reporter.summary_failures()
    reporter.short_test_summary()
    sys.stdout.flush()


DEADLINE = pytest.StashKey[Deadline]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare how long a test may take."""
    parser.addini("deadline", "seconds that a test may take, with its fixtures; 0: for ever", default="120")
    parser.addini("deadline_grace", "seconds that it has to fail, each time", default=str(GRACE_SECONDS))


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr, which pytest captures later."""
    config.addinivalue_line("markers", "deadline(seconds): how long this test may take, with its fixtures")
    if not config.getoption("usepdb") and not config.getoption("trace"):
        config.stash[DEADLINE] = Deadline(config, os.fdopen(os.dup(sys.stderr.fileno()), "w"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect within a deadline."""
    with _within(session.config, "collecting the tests", None):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test with all its fixtures within its deadline."""
    marker = item.get_closest_marker("deadline")
    with _within(item.config, item.nodeid, float(marker.args[0]) if marker else None):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Fixtures may be interrupted; what pytest does between them and the test may not."""
    with _interruptible(item.config):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """The same of the test itself."""
    with _interruptible(item.config):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """The same of the ends of fixtures."""
    with _interruptible(item.config):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what was late also where something has swallowed the failure, and say why it failed."""
    watch = item.config.stash.get(DEADLINE, None)
    late = watch.missed() if watch else ""
    if late:
        gc.collect()  # the report parses sources: Python 3.11 cannot do that and log what a dead task died of
    report = yield
    if late:
        report.outcome, report.longrepr = "failed", f"{late}\n{report.longreprtext}"
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the process end within a deadline: a thread that goes on would hold it."""
    watch = config.stash.get(DEADLINE, None)
    if watch:
        watch.begin("the run's own end", watch.seconds)


@contextlib.contextmanager
def _within(config: pytest.Config, what: str, seconds: float | None) -> Generator[None]:
    watch = config.stash.get(DEADLINE, None)
    if watch is None:
        yield
        return
    watch.begin(what, watch.seconds if seconds is None else seconds)
    try:
        yield
    finally:
        watch.end()


@contextlib.contextmanager
def _interruptible(config: pytest.Config) -> Generator[None]:
    watch = config.stash.get(DEADLINE, None)
    if watch is None:
        yield
        return
    watch.is_in_test = True
    try:
        yield
    finally:
        watch.is_in_test = False
