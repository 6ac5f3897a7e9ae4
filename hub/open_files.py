"""Open files: a socket is one, and the usual soft limit of 1,024 would refuse the thousandth."""

import resource


def raise_open_files() -> None:
    """Raise the process's soft limit to the hard one; where that is refused, it stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            # macOS calls its hard limit infinite, and refuses that.
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(10_240, hard), hard))
