"""Tells the log what the event loop was doing while it stood still: the stack of its thread, as seen from another one."""

import asyncio
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager

import structlog

from core.clock import Clock

# A loop that has not turned for so long keeps everybody waiting.
STALL_SECONDS = 0.25
LOOK_SECONDS = 0.1
# Frames of the stack that are told, the innermost ones.
MOST_FRAMES = 12


class Stalls:
    """Watches the running loop. One line a stall, when it is found; how long all of them are is in hub_loop_lag_seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turned_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ending = threading.Event()
        self._log = structlog.get_logger()

    @contextmanager
    def watched(self) -> Generator[None]:
        """Watch the loop that calls, until the end of this context."""
        self._turn(asyncio.get_running_loop())
        # A daemon: it must not keep a process that has given up.
        thread = threading.Thread(target=self._watch, args=(threading.get_ident(),), name="stalls", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            if self._timer is not None:
                self._timer.cancel()
            thread.join()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turned_at = self._clock.monotonic()
        self._timer = loop.call_later(LOOK_SECONDS, self._turn, loop)

    def _watch(self, watched: int) -> None:
        told = 0.0
        while not self._ending.wait(LOOK_SECONDS):
            turned_at = self._turned_at
            stood = self._clock.monotonic() - turned_at - LOOK_SECONDS
            if stood < STALL_SECONDS or turned_at == told:
                continue
            told = turned_at  # once a stall
            frame = sys._current_frames().get(watched)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - documented, in spite of its name
            stack = traceback.format_stack(frame)[-MOST_FRAMES:] if frame is not None else []
            self._log.warning("loop_stands_still", seconds=round(stood, 2), stack="".join(stack))
