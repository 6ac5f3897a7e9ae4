"""The hub's side: find the supervisor of a data folder or start one, and hold its FIFO open for as long as this process lives."""

import asyncio
import json
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from core.store.engines.answers import postgres_answers, valkey_answers
from core.store.engines.layout import Layout, locate, make_folder
from core.store.engines.postgres import database_url, superuser_url
from core.store.engines.presence import announce, reader_gone
from core.store.engines.processes import tail
from core.store.engines.unavailable import EnginesUnavailable, explain
from core.store.engines.valkey import redis_url

_DEADLINE_SECONDS = 120.0
_STEP_SECONDS = 0.01
_MOST_LOST_SUPERVISORS = 10
_CHECKOUT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class EngineUrls:
    """Addresses of both engines: the hub's plain login, the superuser (its database is `postgres`), and Valkey."""

    database_url: str = field(repr=False)
    superuser_url: str = field(repr=False)
    redis_url: str


@dataclass(frozen=True, slots=True)
class State:
    """What a supervisor has reached: `starting`, `ready`, `failed` with the reason, or `stopped`."""

    phase: str
    supervisor: int
    error: str


class Engines:
    """A process's hold on the engines of a data folder: while it is open, they run, and are brought back when they die.

    The hold is the write end of a FIFO, so that it ends with the process, however that ends.
    """

    def __init__(self, layout: Layout, user: str, hold: int) -> None:
        self.urls = EngineUrls(database_url(layout), superuser_url(layout), redis_url(layout))
        self._layout = layout
        self._user = user
        self._hold = hold
        self._closing = threading.Event()
        self._wakeup = os.pipe()
        # A thread and no task: it serves the process whatever loop runs, and blocks in one poll for all its life.
        self._guard = threading.Thread(target=self._watch, name="engines-guard", daemon=True)
        self._guard.start()

    def close(self) -> None:
        """Give the hold back; the engines stop about two seconds after the last one. Safe to call twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        os.write(self._wakeup[1], b".")
        self._guard.join()
        for descriptor in (self._hold, *self._wakeup):
            os.close(descriptor)

    def _watch(self) -> None:
        """Wait for the supervisor's death, which only force brings while we live; then start the next one."""
        log = structlog.get_logger()
        while not self._closing.is_set():
            poll = select.poll()
            poll.register(self._hold, 0)
            poll.register(self._wakeup[0], select.POLLIN)
            poll.poll()
            if self._closing.is_set():
                return
            log.warning("engines_lost", folder=str(self._layout.folder))
            self._renew(log)

    def _renew(self, log: structlog.stdlib.BoundLogger) -> None:
        while not self._closing.is_set():
            try:
                hold = _take_hold(self._layout, self._user, self._closing)
            except (EnginesUnavailable, OSError) as error:
                if self._closing.is_set():
                    return
                log.error("engines_not_restarted", error=str(error))
                self._closing.wait(1.0)
            else:
                os.close(self._hold)
                self._hold = hold
                log.info("engines_restarted", folder=str(self._layout.folder))
                return


async def start_engines(data: Path, *, user: str = "nobody") -> Engines:
    """Return a hold on the engines of the folder `data`, started if they do not run; both answer by then.

    As root they run as the account `user`, and lie below /var/lib/aimatrix-hub where it cannot enter `data`.
    Raises EnginesUnavailable, with what to do, when they cannot run here or do not answer in two minutes.
    """
    given_up = threading.Event()
    starting = asyncio.get_running_loop().run_in_executor(None, _start, data, user, given_up)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        given_up.set()
        starting.add_done_callback(_drop)
        raise


def _drop(starting: asyncio.Future[Engines]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().close()


def _start(data: Path, user: str, given_up: threading.Event) -> Engines:
    layout = locate(data, user)
    if layout.elsewhere:
        structlog.get_logger().info(
            "engine_data_elsewhere", folder=str(layout.folder), reason=f"{user} cannot enter {layout.data}"
        )
    make_folder(layout)
    try:
        return Engines(layout, user, _take_hold(layout, user, given_up))
    except OSError as error:
        raise explain("The engines cannot be reached.", str(error), layout.folder) from error


def _take_hold(layout: Layout, user: str, given_up: threading.Event) -> int:
    """Return the FIFO's write end once both engines answer. Raises EnginesUnavailable when they will not."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    for _ in range(_MOST_LOST_SUPERVISORS):
        hold = announce(layout)
        if hold is None:
            hold = _supervised(layout, user, deadline, given_up)
        if hold is None:
            continue
        try:
            if _serving(layout, hold, deadline, given_up):
                return hold
        except BaseException:
            os.close(hold)
            raise
        os.close(hold)  # That supervisor was on its way out, or was killed.
    raise _overdue(layout)


def _supervised(layout: Layout, user: str, deadline: float, given_up: threading.Event) -> int | None:
    """Start a supervisor and return the FIFO's write end; None when that one left or died before anyone read."""
    supervisor = _spawn_supervisor(layout, user)
    while not given_up.is_set() and time.monotonic() < deadline:
        lives = _lives(supervisor)  # Before the look: it may leave because another has begun to read.
        hold = announce(layout)
        if hold is not None:
            return hold
        if not lives:
            state = _state(layout)
            if state.phase == "failed" and state.supervisor == supervisor:
                raise EnginesUnavailable(state.error)
            return None
        given_up.wait(_STEP_SECONDS)
    raise _overdue(layout)


def _serving(layout: Layout, hold: int, deadline: float, given_up: threading.Event) -> bool:
    """Wait until both engines answer; False when the supervisor goes before that."""
    while True:
        gone = reader_gone(hold, 0)
        state = _state(layout)
        if state.phase == "failed":
            raise EnginesUnavailable(state.error)
        if gone:
            return False
        if state.phase == "ready" and valkey_answers(layout.valkey_socket) and postgres_answers(layout.postgres_socket):
            return not reader_gone(hold, 0)
        if given_up.is_set() or time.monotonic() > deadline:
            raise _overdue(layout)
        reader_gone(hold, _STEP_SECONDS)


def _state(layout: Layout) -> State:
    try:
        told = json.loads(layout.state.read_text())
        # By name: the supervisor may be of another release.
        return State(told["phase"], told["supervisor"], told["error"])
    except FileNotFoundError:
        return State("starting", 0, "")


def _spawn_supervisor(layout: Layout, user: str) -> int:
    """Start one and return its pid; it detaches at once, and leaves again when another is there already."""
    path = os.pathsep.join(part for part in (str(_CHECKOUT), os.environ.get("PYTHONPATH", "")) if part)
    command = [sys.executable, "-m", "core.store.engines.supervisor", str(layout.data), user]
    try:
        started = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": path},
            cwd="/",
            check=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
        )
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", None) or error)
        raise explain("The engines' supervisor cannot be started.", said[-2000:], layout.folder) from error
    return int(started.stdout)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _overdue(layout: Layout) -> EnginesUnavailable:
    logs = "\n".join(f"{name}: {tail(layout.log(name), 800)}" for name in ("supervisor", "postgres", "valkey"))
    return explain("The engines do not answer.", logs, layout.folder)
