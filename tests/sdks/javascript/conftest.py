"""Node, or a run that says loudly that it was not there."""

import shutil

import pytest

from benchmarks.clients import OLDEST_NODE, node_command
from tests.harness.loudly import say_loudly


def skip_loudly(request: pytest.FixtureRequest, reason: str) -> None:
    """Skip the test; the run says so beside the dots."""
    say_loudly(request, reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """How Node is started; without it the tests are skipped, and the run says so."""
    found = node_command()
    if found is None:
        skip_loudly(request, f"the JavaScript SDK was NOT tested: no Node of {OLDEST_NODE} or later on the PATH")
    assert found is not None
    return found


@pytest.fixture
def type_compiler(request: pytest.FixtureRequest) -> str:
    """The compiler of TypeScript; without it the test is skipped, and the run says so."""
    found = shutil.which("tsc")
    if found is None:
        skip_loudly(request, "types.d.ts of the JavaScript SDK was NOT checked: no tsc on the PATH")
    assert found is not None
    return found
