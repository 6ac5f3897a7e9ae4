"""Which SIGHUP was it: an operator's "take the new release", or the kernel's "your terminal is gone"."""

import asyncio
import errno
import os
import signal
import termios
from collections.abc import Callable
from types import FrameType


def hold_hangups() -> None:
    """Let SIGHUP wait, also for what this process becomes by exec: until somebody takes it, it would be the end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


class Terminal:
    """The terminal that this process was started at, if any."""

    def __init__(self) -> None:
        self._found = [each for each in (0, 1, 2) if _is_terminal(each) or _was_terminal(each)]

    @property
    def is_gone(self) -> bool:
        """Whether there was one, and it is closed now: then nobody is left who could press Ctrl-C."""
        return bool(self._found) and not any(_is_terminal(each) for each in self._found)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _was_terminal(descriptor: int) -> bool:
    """Tell whether it is a terminal that was closed already, before this process could look."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        return error.args[0] == errno.EIO
    return False


def take_hangups(terminal: Terminal, reload: Callable[[], None], end: Callable[[], None]) -> None:
    """Have those that wait, and all from now on, call `reload` in the running loop; or `end`, once, where the terminal is gone.

    From then on it is ignored: the kernel says it, and a shell says it again, which is nobody in a hurry. The loop's own handlers
    are not used, since they, and then the interpreter, put back at their end what would be deadly. Processes that are started have
    the signal as usual.
    """
    loop = asyncio.get_running_loop()

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        call = reload
        if terminal.is_gone:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            call = end
        if not loop.is_closed():
            loop.call_soon_threadsafe(call)

    signal.signal(signal.SIGHUP, hang_up)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
