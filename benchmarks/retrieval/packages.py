"""Documentation that Debian's packages carry: fetched by apt-get, unpacked below benchmarks/build, nothing installed."""

import shutil
import subprocess
from pathlib import Path

from benchmarks.server import CHECKOUT

_BUILD = CHECKOUT / "benchmarks" / "build" / "retrieval"
_APT_GET, _DPKG = shutil.which("apt-get") or "", shutil.which("dpkg") or ""
# The newest that the machine's release has.
_PYTHON = tuple(f"python3.{minor}-doc" for minor in range(15, 10, -1))
_POSTGRESQL = tuple(f"postgresql-doc-{major}" for major in range(19, 13, -1))


class Unavailable(Exception):
    """There is no such documentation here; the message says why."""


def python_pages() -> Path:
    """Return the folder of Python's documentation. Raises Unavailable."""
    return _pages(_PYTHON, "genindex-all.html")


def postgresql_pages() -> Path:
    """Return the folder of PostgreSQL's documentation. Raises Unavailable."""
    return _pages(_POSTGRESQL, "bookindex.html")


def _pages(names: tuple[str, ...], index: str) -> Path:
    for name in names:
        if found := _index_below(_BUILD / name, index):
            return found
    if not _APT_GET or not _DPKG:
        raise Unavailable("apt-get and dpkg are needed for it, which are Debian's")
    said = ""
    for name in names:
        said = _fetch(name)
        if found := _index_below(_BUILD / name, index):
            return found
    raise Unavailable(f"apt-get has none of {', '.join(names)}: {said.strip()[-300:]}")


def _fetch(name: str) -> str:
    folder = _BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [_APT_GET, "download", name],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    for archive in folder.glob("*.deb"):
        subprocess.run([_DPKG, "-x", str(archive), str(folder)], check=True)
        archive.unlink()
    return done.stdout


def _index_below(folder: Path, index: str) -> Path | None:
    found = next(iter(sorted(folder.rglob(index))), None) if folder.exists() else None
    return None if found is None else found.parent
