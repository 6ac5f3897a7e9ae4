"""schemathesis over the OpenAPI document of a real hub, with all its checks: `python -m tests.rest.tried` runs it for long.

It finds failures (5xx), answers that the document does not describe, input that is taken though the document forbids it or refused
though it allows it, credentials that are not looked at, and resources that are there after they were deleted.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from core.auth.caller import ALL_SCOPES
from tests.harness.hub_process import CHECKOUT, HubProcess, HubProcesses
from tests.harness.rest_client import RestClient

HERE = Path(__file__).parent
NEWEST = ("--include-path-regex", "^/(v2/|[a-z.]+$)")
SECONDS = 8 * 3600
# Tells the hooks which media type bodies are sent in, where it is only one of them.
MEDIA = "TRIED_MEDIA_TYPE"


async def token_of(hub: HubProcess, key: str) -> str:
    """Return a token with all scopes: what is tried may revoke any key, also that of who tries."""
    async with RestClient(hub.base_url, key) as rest:
        body = {"subject": "user:tester", "scopes": sorted(ALL_SCOPES), "expires_in": 24 * 3600}
        answer = await rest.call("POST", "/v2/tokens", body)
    assert answer.status == 201, answer
    return answer.body["token"]


async def tried(hub: HubProcess, token: str, *arguments: str, media_type: str | None = None) -> tuple[int, str]:
    """Try all that the document has, with bodies of all media types or of one; returns 0 and what was said, or another number for
    findings.
    """
    environment = {
        **os.environ,
        **({} if media_type is None else {MEDIA: media_type}),
        "SCHEMATHESIS_HOOKS": "tests.rest.schemathesis_hooks",
        "PYTHONPATH": str(CHECKOUT),
        "COLUMNS": "200",
    }
    command = (
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "--no-color"),
        *("run", f"{hub.base_url}/openapi.json", "-H", f"Authorization: Bearer {token}", "--no-shrink", *arguments),
    )
    process = await asyncio.create_subprocess_exec(
        *command, cwd=hub.data, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


async def _for_long() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--examples", type=int, default=300, help="of each operation")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    hubs = HubProcesses()
    try:
        hub = await hubs.start()
        await _unlimited(hub)
        token = await token_of(hub, hub.key)
        async with asyncio.timeout(SECONDS):
            code, output = await tried(hub, token, "-n", str(wanted.examples), "--seed", str(wanted.seed))
        print(output)
    finally:
        hubs.end()
    return code


async def _unlimited(hub: HubProcess) -> None:
    environment = {**os.environ, "HUB_DATA": str(hub.data)}
    limits = ("--limit", "requests_per_hour=100000000", "--limit", "burst=1000000")
    command = (sys.executable, "-m", "hub", "orgs", "set", "default", *limits)
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, env=environment)
    assert await process.wait() == 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_for_long()))
