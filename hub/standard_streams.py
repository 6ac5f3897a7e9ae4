"""Standard input, output and error, as they are found: closed from the start, or lost later."""

import contextlib
import os
import sys

_INPUT, _OUTPUT, _ERROR = range(3)


def open_missing_streams() -> None:
    """Have the descriptors 0, 1 and 2 lead somewhere: the next socket would get the number of one that is closed.

    Then a worker finds /dev/null in its place, or what is logged goes to a client.
    """
    for number in (_INPUT, _OUTPUT, _ERROR):
        try:
            os.fstat(number)
        except OSError:
            # The least number that is free is taken.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - it takes no name
    sys.stdout = sys.stdout or os.fdopen(_OUTPUT, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_ERROR, "w", closefd=False)


class LogStream:
    """Standard error; where nobody reads it, the terminal is closed or the disk full, what is written is lost and nothing else.

    Nothing waits in a buffer, so lines of several processes stay whole.
    """

    def write(self, text: str) -> int:
        """Write as much as can be."""
        with contextlib.suppress(OSError):
            os.write(_ERROR, text.encode(errors="backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: all is written."""


def say(text: str) -> None:
    """Print a line on standard output, if somebody is there."""
    with contextlib.suppress(OSError):
        os.write(_OUTPUT, f"{text}\n".encode())
