"""Where everything of the engines lies, decided from the data folder alone, so that several processes meet.

engines/            HUB_DATA/engines, or below /var/lib (see `locate`)
  supervisor.lock   held by the one living supervisor        alive       FIFO that every hub process holds open
  state.json        what the supervisor has reached           *.log       of the supervisor and both engines, bounded
  *.password        of the two database roles, mode 0600      programs/   copies that the engines' account can execute
  postgres/ valkey/ the data, owned by the engines' account   run/        sockets, unless the path is too long
"""

import hashlib
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from core.store.engines.account import Account, barrier, named_account, owner_of
from core.store.engines.unavailable import OWN_ENGINES, EnginesUnavailable

# Of the roughly 107 bytes that a socket's path may have (103 on macOS), "/.s.PGSQL.5432" takes 14.
_LONGEST_RUN_FOLDER = 103 - 14
_FOREIGN_DATA = Path("/var/lib/aimatrix-hub")


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one data folder's engines; `account` is None where the engines run as the caller itself."""

    data: Path
    folder: Path
    run: Path
    account: Account | None

    @property
    def elsewhere(self) -> bool:
        """Whether the engines lie outside the data folder."""
        return self.data not in self.folder.parents

    @property
    def lock(self) -> Path:
        """The file whose flock the living supervisor holds."""
        return self.folder / "supervisor.lock"

    @property
    def alive(self) -> Path:
        """The FIFO whose write end every hub process holds."""
        return self.folder / "alive"

    @property
    def state(self) -> Path:
        """What the supervisor has reached."""
        return self.folder / "state.json"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data."""
        return self.folder / "postgres"

    @property
    def valkey(self) -> Path:
        """Valkey's data."""
        return self.folder / "valkey"

    @property
    def valkey_socket(self) -> Path:
        """Valkey's socket."""
        return self.run / "valkey.sock"

    @property
    def postgres_socket(self) -> Path:
        """PostgreSQL's socket; its name is PostgreSQL's own choice."""
        return self.run / ".s.PGSQL.5432"

    @property
    def bootstrapped(self) -> Path:
        """The mark that roles, database and extensions are made; it has another name with each change of what is made."""
        return self.folder / "bootstrapped-2"

    def log(self, name: str) -> Path:
        """Return the log of `supervisor`, `postgres` or `valkey`."""
        return self.folder / f"{name}.log"

    def password(self, role: str) -> Path:
        """Return the file with the password of a database role."""
        return self.folder / f"{role}.password"


def locate(data: Path, user: str) -> Layout:
    """Decide where the engines of `data` live and who runs them; creates nothing.

    As root they run as `user`, or as whoever owns what is there already; where that account cannot enter the data folder,
    everything lies below /var/lib instead. Raises EnginesUnavailable where there is no such account, or existing data has
    become unreachable.
    """
    _require_platform()
    data = data.resolve()
    inside = (data / "engines").resolve()
    if os.geteuid() != 0:
        return _layout(data, inside, None)
    elsewhere = _FOREIGN_DATA / _digest(data)
    for folder in (inside, elsewhere):
        if (folder / "postgres").exists():
            account = owner_of(folder / "postgres") or named_account(user)
            _require_way(folder, account)
            return _layout(data, folder, account)
    account = owner_of(inside) or named_account(user)
    return _layout(data, inside if barrier(inside, account) is None else elsewhere, account)


def make_folder(layout: Layout) -> None:
    """Create the engines' folder and what is missing above it.

    Raises EnginesUnavailable where that is not allowed or the folder is another account's.
    """
    try:
        for folder in (*reversed(layout.folder.parents), layout.folder):
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                if layout.account is not None:
                    # That account has to pass, whatever the umask; what is secret has its own mode.
                    folder.chmod(0o711 if folder == layout.folder else 0o755)
                elif folder == layout.folder:
                    folder.chmod(0o700)
        owner = layout.folder.stat().st_uid
    except OSError as error:
        raise EnginesUnavailable(
            f"The folder {layout.folder} cannot be made: {error.strerror}. Give a HUB_DATA that can be written. {OWN_ENGINES}"
        ) from error
    if os.geteuid() not in (0, owner):
        raise EnginesUnavailable(
            f"{layout.folder} belongs to another account (uid {owner}). Start the hub as that one, or give another HUB_DATA."
        )


def follow_data(layout: Layout) -> Path | None:
    """Leave a mark in a data folder whose engines lie elsewhere; without it what lies there is of a folder that was removed.

    Such data is set aside, and replaces what was set aside before; returns where it is then. Raises OSError.
    """
    mark = layout.data / "engines-elsewhere"
    if not layout.elsewhere or mark.is_file():
        return None
    aside = None
    if layout.postgres.exists():
        aside = layout.folder / "previous"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        for path in (layout.postgres, layout.valkey, layout.bootstrapped, *layout.folder.glob("*.password")):
            if path.exists():
                path.rename(aside / path.name)
    layout.data.mkdir(parents=True, exist_ok=True)
    mark.write_text(f"{layout.folder}\n")
    return aside


def give_to_owner(layout: Layout, path: Path) -> None:
    """Let what root makes in a plain account's folder belong to that account, which may start the hub next."""
    if os.geteuid() == 0:
        status = layout.folder.stat()
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


def _layout(data: Path, folder: Path, account: Account | None) -> Layout:
    run = folder / "run"
    # PostgreSQL reads a list here, with quotes and commas of its own; and addresses would have to quote the rest.
    plain = re.fullmatch(r"[A-Za-z0-9/._-]+", str(run)) is not None
    if not plain or len(os.fsencode(run)) > _LONGEST_RUN_FOLDER:
        # Not TMPDIR or XDG_RUNTIME_DIR: they differ between a login and a service, and both have to meet here.
        run = Path("/tmp") / f"aimatrix-hub-{_digest(folder)}"  # noqa: S108 - owner and mode are checked before use
    return Layout(data, folder, run, account)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _require_way(folder: Path, account: Account) -> None:
    closed = barrier(folder, account)
    if closed is not None:
        raise EnginesUnavailable(
            f"The engines' data is in {folder}, but their account {account.name!r} cannot enter {closed} any more."
            f" Allow it (chmod o+x {closed}), or give another HUB_DATA."
        )


def _require_platform() -> None:
    if sys.platform not in ("linux", "darwin"):
        raise EnginesUnavailable(
            f"There are no embedded engines for {sys.platform}: give DATABASE_URL (PostgreSQL 16 or later) and REDIS_URL"
            " (Redis 7 or later, or Valkey), or use WSL."
        )
