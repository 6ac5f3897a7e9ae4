"""`v1-calls`: whoever still calls version 1 is found in the logs that proxies write."""

import subprocess
import sys
from pathlib import Path

import pytest

from hub.commands.v1_calls import Calls, count

ID = "018f3a5e-0000-7000-8000-000000000001"
COMMON = f'10.0.0.7 - - [24/Nov/2026:10:00:00 +0000] "GET /v1/agents/{ID}?x=1 HTTP/1.1" 200 312'
COMBINED = f'{COMMON} "-" "billing/2.1" 0.004'


def found_in(*lines: str) -> dict[tuple[str, str], Calls]:
    """Return what was found."""
    found: dict[tuple[str, str], Calls] = {}
    count(lines, found)
    return found


@pytest.mark.parametrize(
    ("line", "client"),
    [
        (COMMON, "10.0.0.7"),
        (COMBINED, "billing/2.1"),
        (
            f'{{"request": "GET /v1/agents/{ID} HTTP/1.1", "http_user_agent": "billing/2.1", "time_local": "t"}}',
            "billing/2.1",
        ),
        (f'{{"method": "GET", "uri": "/v1/agents/{ID}?page=2", "remote_addr": "10.0.0.7", "ts": 1.5}}', "10.0.0.7"),
        (f'h - - [t] "GET https://api.example.com/v1/agents/{ID} HTTP/2.0" 200 1', "h"),
    ],
)
def test_each_format_is_read(line: str, client: str):
    """Common, combined, and JSON under the names that proxies give; ids are one request, the query is none of it."""
    (request, calls), *rest = found_in(line).items()
    assert request == ("GET", "/v1/agents/{id}")
    assert (calls.count, calls.clients, rest) == (1, {client}, [])


@pytest.mark.parametrize(
    "line",
    [
        'h - - [t] "GET /v2/agents HTTP/1.1" 200 1',
        'h - - [t] "GET /v10/agents HTTP/1.1" 200 1',
        'h - - [t] "GET /files/v1/agents HTTP/1.1" 200 1 "https://x/v1/agents" "/v1"',
        '{"request": "GET /v1/agents',
        '{"request": ["/v1/agents"]}',
        "/v1/agents",
        "",
    ],
)
def test_others_are_not(line: str):
    """Other versions, other paths, and lines that are nothing."""
    assert found_in(line) == {}


def test_what_is_printed_is_inert():
    """A client names itself as it likes; nothing of that moves the cursor of who reads."""
    (calls,) = found_in('h - - [t] "GET /v1/agents/%1b[2J HTTP/1.1" 200 1 "-" "\x1b[2Jevil"').items()
    assert "\x1b" not in str(calls[0]) + "".join(calls[1].clients)


def test_command(tmp_path: Path):
    """It lists by number, names what to send, and fails while there are any."""
    log = tmp_path / "access.log"
    execute = COMBINED.replace(f"GET /v1/agents/{ID}?x=1", "POST /v1/agents/execute")
    log.write_text("\n".join([COMMON, COMBINED, execute]))
    command = [sys.executable, "-m", "hub", "v1-calls"]
    ended = subprocess.run([*command, str(log)], capture_output=True, text=True, check=False, timeout=60)
    first, _, third, _ = ended.stdout.splitlines()
    assert first.split() == ["2", "GET", "/v1/agents/{id}", "->", "GET", "/v2/agents/{id}"]
    assert "/v2/agents/{id}/execute" in third
    assert ended.returncode == 1
    ended = subprocess.run([*command, "-"], input="", capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "No calls of version 1.\n")
    missing = subprocess.run(
        [*command, str(tmp_path / "no.log")], capture_output=True, text=True, check=False, timeout=60
    )
    assert missing.returncode == 1
    assert "no.log" in missing.stderr
