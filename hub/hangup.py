"""Which SIGHUP was it: an operator's "take the new release", or the kernel's "your terminal is gone"."""

import errno
import os
import signal
import termios


def hold_hangups() -> None:
    """Let SIGHUP wait, also for what this process becomes by exec: until somebody takes it, it would be the end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def take_hangups() -> None:
    """Have those that wait, and all from now on, at the handler; processes that are started then have it as usual."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


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
