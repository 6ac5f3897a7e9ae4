"""Which account runs the engines, and what that account can reach. PostgreSQL refuses to run as root."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from core.store.engines.unavailable import OWN_ENGINES, EnginesUnavailable


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account. Engines run with its user and primary group, and no other groups."""

    name: str
    uid: int
    gid: int


def named_account(name: str) -> Account:
    """Return the account of that name. Raises EnginesUnavailable where there is none, or it is root's."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise EnginesUnavailable(
            f"There is no account {name!r} for the engines. Set HUB_ENGINE_USER to an unprivileged account. {OWN_ENGINES}"
        ) from None
    if entry.pw_uid == 0:
        raise EnginesUnavailable(
            f"PostgreSQL does not run as root. Set HUB_ENGINE_USER to an unprivileged account. {OWN_ENGINES}"
        )
    return Account(name, entry.pw_uid, entry.pw_gid)


def owner_of(path: Path) -> Account | None:
    """Return the account that owns `path`; None where it is root's or there is no such path."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if status.st_uid == 0:
        return None
    try:
        return Account(pwd.getpwuid(status.st_uid).pw_name, status.st_uid, status.st_gid)
    except KeyError:
        return Account(str(status.st_uid), status.st_uid, status.st_gid)


def barrier(path: Path, account: Account) -> Path | None:
    """Return the first existing folder on the way to `path`, itself included, that `account` cannot enter; else None."""
    for folder in (*reversed(path.parents), path):
        try:
            status = folder.stat()
        except OSError:
            return None
        if stat.S_ISDIR(status.st_mode) and not _allows(status, account, 0o1):
            return folder
    return None


def can_run(program: Path, account: Account) -> bool:
    """Say whether `account` reaches `program` and may execute it."""
    return barrier(program, account) is None and _allows(program.stat(), account, 0o5)


def _allows(status: os.stat_result, account: Account, bits: int) -> bool:
    if status.st_uid == account.uid:
        granted = status.st_mode >> 6
    elif status.st_gid == account.gid:
        granted = status.st_mode >> 3
    else:
        granted = status.st_mode
    return granted & bits == bits
