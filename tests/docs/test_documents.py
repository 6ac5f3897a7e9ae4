"""What the documents say is what a reader sees: shell lines run, settings are those of the code, links lead somewhere."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import Settings, variable_of
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = ROOT / "README.md"


def _blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def _shell_blocks() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        for number, block in enumerate(_blocks(document, "sh"), 1):
            yield f"{document.relative_to(ROOT)}:{number}", block


@pytest.fixture
async def hub(hubs: HubProcesses) -> HubProcess:
    """A hub as `make run` starts it."""
    return await hubs.start()


def _here(text: str, hub: HubProcess) -> str:
    """Put the test's address, data and Python in place of the reader's."""
    replaced = text.replace("http://127.0.0.1:8080", hub.base_url).replace("ws://127.0.0.1:8080", _socket(hub))
    return replaced.replace(".data/dev-key", str(hub.data / "dev-key")).replace(".venv/bin/python", sys.executable)


def _socket(hub: HubProcess) -> str:
    return hub.base_url.replace("http", "ws", 1)


@pytest.mark.deadline(300)
async def test_every_shell_block_runs(hub: HubProcess):
    """Block by block, in a shell that stops at the first failure; curl fails on an error's status."""
    for where, block in _shell_blocks():
        script = 'set -euo pipefail\ncurl() { command curl --fail-with-body "$@"; }\n' + _here(block, hub)
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-c", script],
            cwd=ROOT,
            env={**os.environ, "HUB_DATA": str(hub.data)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{where}\n{done.stdout}\n{done.stderr}"
        if where.startswith("README.md:1"):
            assert '"name":"Ada"' in done.stdout
            assert done.stdout.lower().count("idempotent-replayed: true") == 1
            assert '"total":1' in done.stdout
            assert '"key": "aim_live_' in done.stdout


async def test_python_block_of_the_readme_sees_events(hub: HubProcess, tmp_path: Path):
    """The example prints what happens."""
    (block,) = _blocks(README, "python")
    output = tmp_path / "output"
    script = _here(block, hub)
    with output.open("wb") as out:
        reader = await asyncio.create_subprocess_exec(
            sys.executable, "-u", "-c", script, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        await eventually(lambda: "subscribed" in output.read_text(), within=60)
        async with RestClient(hub.base_url, hub.key) as client:
            await client.call("POST", "/v2/twins", {"name": "Pump"})
        await eventually(lambda: "event twin.created" in output.read_text())
    finally:
        reader.kill()
        await reader.wait()


def test_make_knows_the_commands_of_the_readme():
    """`make run`, `make test` and the others exist."""
    for target in sorted(set(re.findall(r"(?:^|`)make ([a-z]+)", README.read_text(), re.MULTILINE))):
        done = subprocess.run(
            ["/usr/bin/env", "make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (target, done.stderr)


def test_settings_of_the_readme_are_those_of_the_code():
    """Each with its default and its description."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| ?(.*?) ?\| (.*?) \|$", README.read_text(), re.MULTILINE)
    documented = {name: (default.strip("` "), text) for name, default, text in rows}
    expected = {
        variable_of(name): (
            "" if field.default in (None, ()) else str(field.default),
            field.description,
        )
        for name, field in Settings.model_fields.items()
    }
    assert documented == expected


def test_links_between_documents_lead_somewhere():
    """A relative link names a file of the checkout."""
    for document in [*DOCUMENTS, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_tests_named_in_the_guarantees_exist():
    """A promise names the test that shows it."""
    text = (ROOT / "docs" / "guarantees.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert named
    for file, test in named:
        assert (ROOT / file).is_file(), file
        text = (ROOT / file).read_text()
        assert not test or f"def {test}(" in text or f"class {test}:" in text, f"{file}::{test}"
