"""The programs of the package's README run as they stand, and say what they should."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

SDK = Path(__file__).resolve().parents[3] / "sdks" / "python"
README = (SDK / "README.md").read_text()
PROGRAMS = dict(re.findall(r"^## (.*?)$.*?^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))


@asynccontextmanager
async def running(title: str, hub: HubProcess, key: str, folder: Path) -> AsyncGenerator[Path]:
    """Run a program; gives the file with what it says."""
    output = folder / "said"
    environment = {
        **os.environ,
        "PYTHONPATH": str(SDK),
        "AIMATRIX_URL": hub.base_url,
        "AIMATRIX_KEY": key,
        "AIMATRIX_KEPT": str(folder / "kept"),
    }
    with output.open("wb") as said:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-u", "-W", "error", "-c", PROGRAMS[title], env=environment, stdout=said, stderr=said
        )
    try:
        yield output
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


def said_in(output: Path) -> str:
    """Return what a program has said."""
    return output.read_text()


async def test_programs_of_the_readme_run(
    engines: EngineUrls, organisation: Organisation, redis_url: str, tmp_path: Path, hubs: HubProcesses
):
    """Against a hub as a user has it; the one that keeps its place goes on from there in another process."""
    assert len(PROGRAMS) == 4
    hub = await hubs.start(urls=EngineUrls(organisation.database_url, engines.superuser_url, redis_url))
    key = await organisation.key()
    async with RestClient(hub.base_url, key) as rest:

        async def something_is_said(output: Path, text: str) -> None:
            async def is_said() -> bool:
                await rest.call("POST", "/v2/agents", {"name": "Bob", "type": "assistant"})
                return text in said_in(output)

            await eventually(is_said, every=0.1)

        for title in ("Read channels", "Without an event loop", "Go on where the program was"):
            async with running(title, hub, key, tmp_path) as output:
                await something_is_said(output, "agent.created")
        missed = (await rest.call("POST", "/v2/agents", {"name": "Missed", "type": "assistant"})).body["id"]
        async with running("Go on where the program was", hub, key, tmp_path) as output:
            await eventually(lambda: missed in output.read_text())
        async with running("Publish, and call", hub, key, tmp_path) as output:
            await eventually(lambda: output.read_text().splitlines() == ["Hello", "Ada"])


def test_package_says_what_it_exports():
    """Names of `__all__` are there, and nothing of the hub is imported."""
    import aimatrix
    import aimatrix.live

    assert all(hasattr(aimatrix, name) for name in aimatrix.__all__)
    assert all(hasattr(aimatrix.live, name) for name in aimatrix.live.__all__)
    assert (SDK / "aimatrix" / "py.typed").is_file()
    assert (SDK / "LICENSE").read_text() == (SDK.parents[1] / "LICENSE").read_text()
