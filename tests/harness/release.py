"""The last release beside this checkout: a worktree of its tag in a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.hub_process import CHECKOUT


class NoRelease(Exception):
    """There is none that can be built here; the message says why."""


def last_release() -> str:
    """Return the revision of the last release: OLD_RELEASE, else the newest tag before this commit. Raises NoRelease."""
    named = os.environ.get("OLD_RELEASE")
    if named:
        return named
    if _git("rev-parse", "--is-shallow-repository") == "true":
        raise NoRelease("a shallow clone has no tags: fetch the history, or name a revision in OLD_RELEASE")
    found = _git("describe", "--tags", "--abbrev=0", "HEAD")
    if not found:
        raise NoRelease("there is no release tag yet; OLD_RELEASE can name a revision")
    return found


@contextmanager
def checked_out(revision: str) -> Generator[Path]:
    """Give a worktree of `revision`; it is removed at the end. Raises NoRelease where git cannot make it."""
    folder = Path(tempfile.mkdtemp(prefix="hub-release-", dir="/tmp"))
    folder.chmod(0o755)
    tree = folder / "tree"
    try:
        if not _git("worktree", "add", "--detach", "--quiet", str(tree), revision, says="ok"):
            raise NoRelease(f"git cannot check {revision} out")
        yield tree
    finally:
        _git("worktree", "remove", "--force", str(tree))
        shutil.rmtree(folder, ignore_errors=True)


def _git(*words: str, says: str | None = None) -> str:
    """Return what git prints, or `says` where it did as it was told; nothing where it failed."""
    done = subprocess.run(["/usr/bin/env", "git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        return ""
    return done.stdout.strip() if says is None else says
