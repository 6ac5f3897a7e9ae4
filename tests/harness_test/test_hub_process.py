"""Hub processes are started, found ready, stopped and killed; one that fails shows why."""

import sys
from pathlib import Path

import pytest

from tests.harness.hub_process import HubProcesses

# Stands for a hub: prints its address, answers /readyz, ends on SIGTERM.
SMALL_SERVER = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


async def test_ready_process_has_an_address(hubs: HubProcesses):
    """It is ready when it has printed its address and /readyz is 200; SIGTERM ends it."""
    hub = await hubs.start(command=(sys.executable, "-c", SMALL_SERVER))
    assert hub.base_url.startswith("http://127.0.0.1:")
    assert hub.stream_url == hub.base_url.replace("http", "ws") + "/v2/stream"
    assert await hub.stop() == -15
    assert not hub.running


async def test_killed_process_is_gone_and_starts_again(hubs: HubProcesses):
    """Kill -9 of a paused process works as well."""
    hub = await hubs.start(command=(sys.executable, "-c", SMALL_SERVER))
    hub.pause()
    hub.kill()
    assert not hub.running
    await hub.start()
    assert hub.running


async def test_process_that_ends_early_shows_its_output(hubs: HubProcesses, tmp_path: Path):
    """Whoever reads the failure sees what the hub said."""
    hub = hubs.prepare(data=tmp_path, command=(sys.executable, "-c", "raise SystemExit('no such database')"))
    with pytest.raises(AssertionError, match=r"(?s)has ended with 1.*no such database"):
        await hub.start(within=10)
