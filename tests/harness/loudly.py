"""What a run says beside the dots, so that nobody takes for tested what was not there to be tested."""

from contextlib import nullcontext

import pytest


def say_loudly(request: pytest.FixtureRequest, words: str) -> None:
    """Print to the terminal, whatever is captured."""
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    with nullcontext() if capture is None else capture.global_and_fixture_disabled():
        print(f"\n{words}", flush=True)
