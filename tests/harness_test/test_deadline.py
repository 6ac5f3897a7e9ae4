"""A test that hangs fails with the stacks of everything, and the run goes on; where it cannot be ended, the run ends."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.harness.deadline import ENDED
from tests.harness.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
deadline = 1
deadline_grace = 1
"""
LOOP = """
import uvloop
def pytest_asyncio_loop_factories():
    return {"uvloop": uvloop.new_event_loop}
"""
HANGS = """
import asyncio, contextlib, subprocess, threading
import pytest

async def for_ever(*_):
    await asyncio.Event().wait()

async def spin():
    while True:
        pass

async def turn():
    while True:
        await asyncio.sleep(0)

async def live_on():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

async def numbers():
    yield 1
    await for_ever()

@pytest.fixture
async def endless_setup():
    await for_ever()
    yield

@pytest.fixture
async def endless_teardown():
    yield
    await for_ever()

async def test_waits():
    await for_ever()

async def test_waits_in_a_generator():
    async for _ in numbers():
        pass

async def test_spins():
    await spin()

async def test_turns():
    await turn()

async def test_another_task_spins():
    spinning = asyncio.create_task(spin())
    await for_ever(spinning)

async def test_task_outlives_it():
    living = asyncio.create_task(live_on())
    await asyncio.sleep(0)

async def test_setup(endless_setup):
    pass

async def test_teardown(endless_teardown):
    pass

async def test_fails_before_that(endless_teardown):
    assert not "an ordinary failure"

def test_program():
    subprocess.run(["sleep", "1000"])

async def test_thread():
    await asyncio.to_thread(threading.Event().wait, 4)

@pytest.mark.deadline(0)
async def test_that_may_take_longer():
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(for_ever(), 1.5)

async def test_afterwards():
    pass
"""
IMMORTAL = """
import contextlib, subprocess, threading
import pytest

def test_before():
    assert not "an ordinary failure"

def test_immortal():
    program = subprocess.Popen(["sleep", "1000"])
    open("program", "w").write(str(program.pid))
    while True:
        with contextlib.suppress(BaseException):
            threading.Event().wait()
"""
DEAF = """
import itertools

def test_deaf():
    sum(itertools.repeat(1))  # neither signals nor other threads have a chance
"""


def run(folder: Path, tests: str) -> tuple[int, str]:
    """Run a file of tests by a pytest of its own; return its exit code and all that it printed."""
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "conftest.py").write_text(LOOP)
    (folder / "test_it.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "tests.harness.deadline", "-p", "no:cacheprovider", "-rA", "-s"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    return done.returncode, done.stdout


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone; one that nobody has waited for counts."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def of_hangs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the run of HANGS printed."""
    code, said = run(tmp_path_factory.mktemp("hangs"), HANGS)
    assert code == pytest.ExitCode.TESTS_FAILED, said
    return said


@pytest.mark.parametrize(
    ("test", "how", "stands"),
    [
        ("waits", "FAILED", "for_ever: await asyncio.Event().wait()"),
        ("waits_in_a_generator", "FAILED", "numbers: await for_ever()"),
        ("spins", "FAILED", "spin: "),
        ("turns", "FAILED", "turn: await asyncio.sleep(0)"),
        ("another_task_spins", "FAILED", "test_another_task_spins: await for_ever(spinning)"),
        ("task_outlives_it", "ERROR", "live_on: await asyncio.Event().wait()"),
        ("setup", "ERROR", "endless_setup: await for_ever()"),
        ("teardown", "ERROR", "endless_teardown: await for_ever()"),
        ("fails_before_that", "ERROR", "endless_teardown: await for_ever()"),
        ("program", "FAILED", "test_program: subprocess.run"),
        ("thread", "FAILED", "wait: "),
    ],
)
def test_what_hangs_fails_and_shows_where(of_hangs: str, test: str, how: str, stands: str):
    """The stacks are of that moment; the report says what was missed."""
    late = f"test_it.py::test_{test} did not end within 1 s"
    stacks = of_hangs.partition(f"+++ {late}, and stands here:")[2].partition(f"+++ {late}\n")[0]
    assert stands in stacks, of_hangs
    assert f"{how} test_it.py::test_{test} - {late}"[:60] in of_hangs


def test_run_goes_on_after_a_test_that_hangs(of_hangs: str):
    """The next one passes; so does one that has a longer deadline of its own."""
    assert "PASSED test_it.py::test_afterwards" in of_hangs
    assert "PASSED test_it.py::test_that_may_take_longer" in of_hangs
    assert "FAILED test_it.py::test_fails_before_that - AssertionError" in of_hangs


def test_run_ends_where_a_test_cannot_be_ended(tmp_path: Path):
    """What failed before is printed, and no program is left behind."""
    code, said = run(tmp_path, IMMORTAL)
    assert code == ENDED, said
    assert "+++ test_it.py::test_immortal cannot be ended" in said
    assert "FAILED test_it.py::test_before" in said
    program = int((tmp_path / "program").read_text())
    wait_until(lambda: has_ended(program), what="the program of the test has ended")


def test_run_ends_where_python_itself_hangs(tmp_path: Path):
    """Nothing written in Python runs any more: the stacks of the threads are all there is."""
    code, said = run(tmp_path, DEAF)
    assert code == 1, said
    assert "in test_deaf" in said
