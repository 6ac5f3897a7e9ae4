"""Why embedded engines cannot be had, in words that say what to do about it."""

import shutil
from pathlib import Path

OWN_ENGINES = "Or give DATABASE_URL and REDIS_URL of running servers."

# What engines write when they fail, and the cure; the first that is found counts.
_CURES = (
    ("No space left on device", "The disk is full: free space for {folder}."),
    ("Disk quota exceeded", "The disk quota is used up: free space for {folder}."),
    (
        "not compatible with this version",
        "{folder} was made by another major version of PostgreSQL: dump it with that version, or give another HUB_DATA.",
    ),
    (
        "Bad file format reading the append only file",
        "Valkey's file is damaged: move {folder}/valkey away. It holds only what is in flight; PostgreSQL has the rest.",
    ),
    (
        "could not create shared memory",
        "The system gives too little shared memory: raise its limit (for a container, --shm-size=256m).",
    ),
    ("error while loading shared libraries", "A system library is missing: install it with the system's packages."),
    (
        "password authentication failed",
        "{folder}/postgres.password is not the one of this data: put the old one back, or move {folder} away.",
    ),
    ("Permission denied", "The account of the engines needs rights in {folder}: mend them, or give another HUB_DATA."),
    ("Operation not permitted", "The engines' account cannot be used here: start the hub as a plain user."),
    ("Read-only file system", "{folder} cannot be written: give another HUB_DATA."),
)


class EnginesUnavailable(Exception):
    """The embedded engines cannot run; the message says why and what to do."""


def explain(what: str, detail: str, folder: Path) -> EnginesUnavailable:
    """Return the error for `what` failed, with the end of its output and the cure where one is known."""
    if _is_full(folder):
        detail += "\nNo space left on device"  # Then logs may be empty.
    cure = next((text.format(folder=folder) for sign, text in _CURES if sign in detail), "")
    parts = (what, detail.strip(), cure, OWN_ENGINES)
    return EnginesUnavailable("\n".join(part for part in parts if part))


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < 1 << 20
    except OSError:
        return False
