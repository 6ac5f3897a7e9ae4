"""A run that several workers share: every test once, alone where it says so, and what fails is told as by one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SETTINGS = """
[pytest]
deadline = 2
deadline_grace = 2
addopts = -q --strict-markers -p tests.harness.deadline -p tests.harness.shares -p no:cacheprovider -p no:asyncio
"""
TESTS = """
import contextlib, os, pathlib, threading, time
import pytest

HERE = pathlib.Path(__file__).parent

@contextlib.contextmanager
def noted(kind):
    mine = HERE / f"{kind}-{time.monotonic_ns()}"
    mine.touch()
    yield
    mine.unlink()

def under_way(kind):
    return list(HERE.glob(f"{kind}-*"))

def beside():
    with noted("beside"):
        until = time.monotonic() + 0.2
        while len(under_way("beside")) < 2 and time.monotonic() < until:
            assert not under_way("alone")
    (HERE / f"worker-{os.environ['PYTEST_XDIST_WORKER']}").touch()

@pytest.mark.parametrize("number", range(8))
def test_beside_others(number):
    beside()

@pytest.mark.alone
@pytest.mark.parametrize("number", range(4))
def test_alone(number):
    with noted("alone"):
        for _ in range(20):
            assert len(under_way("alone")) == 1
            assert not under_way("beside")
            os.sched_yield()

def test_skipped():
    pytest.skip("NOT HERE")

def test_fails():
    print("FAULT_SEED=7")
    assert not "an ordinary failure"

def test_hangs():
    threading.Event().wait()

def test_dies():
    os._exit(3)

def test_cannot_be_ended():
    while True:
        with contextlib.suppress(BaseException):
            threading.Event().wait()

@pytest.mark.parametrize("number", range(8))
def test_beside_others_later(number):
    beside()
"""


def run(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Run TESTS by a pytest of its own; return its exit code and all that it printed."""
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "test_it.py").write_text(TESTS)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rfs", *options],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(CHECKOUT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run by two workers, and what it printed."""
    folder = tmp_path_factory.mktemp("shared")
    code, said = run(folder, "-n", "2", "--dist", "worksteal")
    assert code == pytest.ExitCode.TESTS_FAILED, said
    return folder, said


def test_each_is_counted_once(shared: tuple[Path, str]):
    """The last line is that of any run, whatever has happened to workers."""
    folder, said = shared
    last = said.rstrip().splitlines()[-1]
    assert re.fullmatch(r"4 failed, 20 passed, 1 skipped in \S+s.*", last), said
    assert len(list(folder.glob("worker-*"))) >= 2


def test_failure_shows_its_worker_and_what_it_printed(shared: tuple[Path, str]):
    """A seed among it."""
    _, said = shared
    assert re.search(r"\[gw\d\] .*\n", said)
    assert "FAULT_SEED=7" in said
    assert "FAILED test_it.py::test_fails - AssertionError" in said


def test_what_is_skipped_is_told(shared: tuple[Path, str]):
    """With its reason."""
    assert "NOT HERE" in shared[1]


def test_deadline_holds_in_a_worker(shared: tuple[Path, str]):
    """With the stacks, beside what the others print."""
    _, said = shared
    assert "+++ test_it.py::test_hangs did not end within 2 s, and stands here:" in said
    assert "FAILED test_it.py::test_hangs" in said


def test_worker_that_dies_fails_its_test_and_is_replaced(shared: tuple[Path, str]):
    """So does one that had to be killed because a test could not be ended."""
    _, said = shared
    assert "+++ test_it.py::test_cannot_be_ended cannot be ended" in said
    for test in ("dies", "cannot_be_ended"):
        assert re.search(rf"worker 'gw\d' crashed while running 'test_it.py::test_{test}'", said), said


@pytest.mark.parametrize(("count", "code"), [("2", pytest.ExitCode.USAGE_ERROR), ("logical", pytest.ExitCode.OK)])
def test_given_redis_is_not_shared(tmp_path: Path, count: str, code: int):
    """Each test empties it: two at once would lose each other's data."""
    given = {"TEST_DATABASE_URL": "postgresql://nowhere", "TEST_REDIS_URL": "redis://nowhere"}
    ended, said = run(tmp_path, "-n", count, "-k", "skipped", **given)
    assert ended == code, said
