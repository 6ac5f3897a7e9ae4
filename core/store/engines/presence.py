"""The FIFO by which hub processes and the supervisor know of each other's life, kill -9 included.

Each hub process holds the write end, the supervisor the read end. Writers gone: the supervisor reads end-of-file. Reader gone:
the write end reports an error. Nothing is ever written.
"""

import errno
import os
import select

from core.store.engines.layout import Layout, give_to_owner


def announce(layout: Layout) -> int | None:
    """Open the write end, close-on-exec; None where no supervisor reads. The caller owns the descriptor."""
    try:
        return os.open(layout.alive, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def reader_gone(descriptor: int, timeout_seconds: float) -> bool:
    """Wait at most that long for the supervisor to go; say whether it has."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(timeout_seconds * 1000))


class Readers:
    """The supervisor's end."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.alive
        if not self._path.is_fifo():
            self._path.unlink(missing_ok=True)
            os.mkfifo(self._path, 0o600)
            give_to_owner(layout, self._path)
        self.descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)

    @property
    def anybody(self) -> bool:
        """Whether a hub process lives."""
        try:
            return os.read(self.descriptor, 512) != b""
        except BlockingIOError:
            return True

    def retire(self) -> bool:
        """Close for good, unless somebody has come in the last moment; say whether it is closed.

        First no one can come any more, then it is seen whether anyone did: nobody is ever left holding a dead end unknowingly.
        """
        aside = self._path.with_name("alive.retiring")
        self._path.rename(aside)
        if self.anybody:
            aside.rename(self._path)
            return False
        aside.unlink()
        os.close(self.descriptor)
        return True
