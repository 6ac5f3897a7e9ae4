"""The receivers of docs/webhooks.md, as a reader runs them: each verifies real deliveries of a hub, with the published package."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from core.events.catalogue import EventType
from core.events.subscriptions.dead_letters import Announcement, announce
from core.store.database import Database
from core.store.engines import EngineUrls
from handlers.agents.executions.happenings import EXECUTIONS
from tests.harness.hub_process import CHECKOUT, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

GUIDE = CHECKOUT / "docs" / "webhooks.md"
NODE = CHECKOUT / "tests" / "docs" / "node"


def _example(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    return block


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def _node(folder: Path, script: str) -> list[str]:
    """Install the packages where npm can; a machine without Node or without a registry says so."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("NODE IS NOT HERE: the receiver in Node was not tried")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NODE / name, folder / name)
    install = [npm, "ci", "--no-audit", "--no-fund"]
    done = await asyncio.to_thread(
        subprocess.run, install, cwd=folder, capture_output=True, text=True, timeout=90, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"NPM COULD NOT INSTALL: the receiver in Node was not tried: {done.stderr[-300:]}")
    (folder / "receiver.js").write_text(script)
    return [node, "receiver.js"]


@asynccontextmanager
async def _running(command: list[str], folder: Path, environment: Mapping[str, str]) -> AsyncGenerator[Path]:
    """Run a receiver; gives the file that it prints into."""
    output = folder / "output"
    with output.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env={**os.environ, **environment}, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield output
    finally:
        process.kill()
        await process.wait()


async def _listens(port: int) -> bool:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return True


@pytest.mark.parametrize("language", ["python", "javascript"])
async def test_receiver_of_the_guide_verifies_real_deliveries(language: str, hubs: HubProcesses, tmp_path: Path):
    """What it prints it has verified; with another secret it takes nothing."""
    script = _example(language)
    command = [sys.executable, "-u", "-c", script] if language == "python" else await _node(tmp_path, script)
    hub = await hubs.start(environment={"HUB_OUTBOUND_ALLOW": "127.0.0.0/8"})
    port = _free_port()
    async with RestClient(hub.base_url, hub.key, timeout=30) as rest:
        url = f"http://127.0.0.1:{port}/"
        webhook = (await rest.call("POST", "/v2/webhooks", {"url": url, "events": ["agent.*"]})).body
        async with _running(command, tmp_path, {"PORT": str(port), "WEBHOOK_SECRET": webhook["secret"]}) as output:
            await eventually(lambda: _listens(port), retry_on=(OSError,), what="the receiver listens")
            event = (await rest.call("POST", "/v2/agents", {"name": "Ada Lovelace, Ä"})).event_id
            line = f"received agent.created {event}"
            await eventually(lambda: line in output.read_text(), what="the receiver has verified it")
            tried = (await rest.call("POST", f"/v2/webhooks/{webhook['id']}/test")).body
            assert (tried["outcome"], tried["status"]) == ("delivered", 200)
            overlap = {"overlap_seconds": 0}
            assert (await rest.call("POST", f"/v2/webhooks/{webhook['id']}/rotate", overlap)).status == 200
            tried = (await rest.call("POST", f"/v2/webhooks/{webhook['id']}/test")).body
            assert (tried["outcome"], tried["status"]) == ("failed", 400)


async def test_handler_by_type_works_with_the_bodies_of_the_hub(
    hubs: HubProcesses,
    organisation: Organisation,
    database_url: str,
    redis_url: str,
    engines: EngineUrls,
    tmp_path: Path,
):
    """An Express handler that switches on `event.type` and takes `event.data`: of what is updated, and of what will be emitted."""
    command = await _node(tmp_path, _example("js"))
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    hub = await hubs.start(urls=urls, environment={"HUB_OUTBOUND_ALLOW": "127.0.0.0/8"})
    port = _free_port()
    (execution,) = (each for each in EXECUTIONS if each.name == "agent.execution.completed")
    async with RestClient(hub.base_url, await organisation.key(), timeout=30) as rest:
        url = f"http://127.0.0.1:{port}/webhooks/aimatrix"
        webhook = (
            await rest.call("POST", "/v2/webhooks", {"url": url, "events": ["agent.execution.*", "knowledge.*"]})
        ).body
        async with _running(command, tmp_path, {"PORT": str(port), "WEBHOOK_SECRET": webhook["secret"]}) as output:
            await eventually(lambda: _listens(port), retry_on=(OSError,), what="the receiver listens")
            await _emit(database_url, organisation, execution)
            made = (await rest.call("POST", "/v2/knowledge", {"name": "Handbook"})).body
            await rest.call("PATCH", f"/v2/knowledge/{made['id']}", {"name": "Handbook, second edition"})
            expected = {f"completed {execution.example['id']}", f"updated {made['id']}"}
            await eventually(lambda: set(output.read_text().splitlines()) == expected, what="both are handled")


async def _emit(database_url: str, organisation: Organisation, type: EventType) -> None:
    """Write the example of a type as an event; the next write of the hub has it relayed."""
    database = Database(database_url, role="hub_app", size=1)
    told = Announcement(type.name, f"executions/{type.example['id']}", orjson.dumps(type.example).decode())
    try:
        async with database.transaction(organisation.id) as db:
            await announce(db, organisation.id, [told], datetime.now(UTC))
    finally:
        await database.close()
