"""A pytest plugin: a run shared by several workers (pytest-xdist), each with engines of its own.

how many          `-n logical`: one a processor, and one for what they leave free while their tests wait; four at most. With
                  TEST_DATABASE_URL and TEST_REDIS_URL none: there is one Redis, which each test finds empty
who does what     `--dist worksteal`: each begins with its part of the tests, in order; who has none left takes some of another's
marked `slow`     comes first: who has nothing else left takes small ones of another's, and at the end nobody waits for a long one
marked `alone`    nothing else of the run is under way meanwhile: for tests that take the whole machine, or measure
"""

import fcntl
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

MOST_WORKERS = 4
_PLACE = "tests.harness.shares.place"
PLACE = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


def _are_engines_given() -> bool:
    return bool(os.environ.get("TEST_DATABASE_URL") and os.environ.get("TEST_REDIS_URL"))


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what would let tests empty each other's Redis."""
    config.addinivalue_line("markers", "alone: nothing else of the run is under way meanwhile")
    if config.getoption("numprocesses", None) and _are_engines_given():
        raise pytest.UsageError("TEST_REDIS_URL is one Redis, which each test empties: no -n with it, or -n logical")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers `-n logical` is; 0 is none."""
    return 0 if _are_engines_given() else min((os.cpu_count() or 1) + 1, MOST_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where all of them meet."""
    if PLACE not in node.config.stash:
        node.config.stash[PLACE] = tempfile.TemporaryDirectory(prefix="hub-tests-")
    node.workerinput[_PLACE] = node.config.stash[PLACE].name


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes long before the rest, which keeps its order."""
    if _PLACE in getattr(config, "workerinput", {}):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that place."""
    if PLACE in config.stash:
        config.stash[PLACE].cleanup()


# Outermost: while it waits for the others, a test is not yet under its deadline.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test beside the others, or alone."""
    place = getattr(item.config, "workerinput", {}).get(_PLACE)
    if place is None:
        return (yield)
    is_alone = item.get_closest_marker("alone") is not None
    with Path(place, "door").open("w") as door, Path(place, "room").open("w") as room:
        # All come through one door, and who waits to be alone stands in it: so the room empties.
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)
