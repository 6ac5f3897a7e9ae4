"""`v1-calls FILE...`: finds the calls of the deprecated version in access logs, and says what to send instead."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO
from urllib.parse import unquote

import orjson

from core.ids import parse_id
from core.settings import Settings

# The common log format, alone or with referrer and agent behind it (combined), whatever a proxy puts after that.
_LINE = re.compile(
    r'^(?P<client>\S+) \S+ \S+ \[(?P<time>[^\]]*)\] "(?P<request>[^"]*)"(?: \S+ \S+(?: "[^"]*" "(?P<agent>[^"]*)")?)?'
)
_REQUEST = re.compile(r"(?P<method>[A-Z]+) (?:https?://[^/ ]*)?(?P<path>/v1(?:/[^ ?]*)?)(?:\?\S*)?(?: HTTP/[\d.]+)?")
_NAMES: Mapping[str, tuple[str, ...]] = {
    "request": ("request", "request_line"),
    "method": ("method", "request_method", "http_method"),
    "path": ("path", "uri", "request_uri", "url"),
    "time": ("time", "timestamp", "time_local", "time_iso8601", "ts", "@timestamp"),
    "client": ("client", "remote_addr", "remote_ip", "client_ip"),
    "agent": ("agent", "user_agent", "http_user_agent"),
}
_EXECUTE = ("POST", "/v1/agents/execute")
_EXECUTE_NOW = "POST /v2/agents/{id}/execute, with agent_id in the path, and input as query beside context"


@dataclass(slots=True)
class Calls:
    """The calls of one v1 request; `last` is the time as the log writes it."""

    count: int = 0
    last: str = ""
    clients: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    time: str
    client: str


def add_to(commands: Any) -> None:
    """Add `v1-calls` and what it takes."""
    one = commands.add_parser("v1-calls", help="find calls of the deprecated version 1 in access logs")
    help_ = "an access log in the common or combined format, or of lines of JSON; - is standard input"
    one.add_argument("files", nargs="+", metavar="FILE", help=help_)
    one.set_defaults(command=run)


async def run(_settings: Settings, arguments: argparse.Namespace) -> int:
    """Print each v1 request that was made; 1 if there is any. Raises OSError for a file that cannot be read."""
    found: dict[tuple[str, str], Calls] = {}
    for name in arguments.files:
        if name == "-":
            count(sys.stdin, found)
        else:
            with open(name, encoding="utf-8", errors="replace") as lines:  # noqa: ASYNC230 - a command has nothing else to do
                count(lines, found)
    for (method, path), calls in sorted(found.items(), key=lambda item: -item[1].count):
        print(f"{calls.count:>8}  {method} {path}  ->  {instead_of(method, path)}")  # noqa: T201 - the command's answer
        print(f"{'':>8}  last {calls.last or 'unknown'}, by {', '.join(sorted(calls.clients)) or 'unknown'}")  # noqa: T201
    if not found:
        print("No calls of version 1.")  # noqa: T201
    return 1 if found else 0


def count(lines: TextIO | Iterable[str], found: dict[tuple[str, str], Calls]) -> None:
    """Add the v1 calls of `lines` to `found`, by method and path with `{id}` for ids."""
    for call in _calls(lines):
        calls = found.setdefault((call.method, _template(call.path)), Calls())
        calls.count += 1
        calls.last = call.time or calls.last
        if call.client and len(calls.clients) < 5:  # a few names are enough to find the rest
            calls.clients.add(call.client)


def instead_of(method: str, path: str) -> str:
    """Return what is sent in version 2 for a v1 request."""
    return _EXECUTE_NOW if (method, path) == _EXECUTE else f"{method} /v2{path.removeprefix('/v1')}"


def _calls(lines: Iterable[str]) -> Iterator[_Call]:
    for line in lines:
        if "/v1" in line:
            call = _of_json(line) if line.lstrip().startswith("{") else _of_common(line)
            if call is not None:
                yield call


def _of_common(line: str) -> _Call | None:
    parts = _LINE.match(line)
    return None if parts is None else _call(parts["request"], parts["time"], parts["agent"] or parts["client"])


def _of_json(line: str) -> _Call | None:
    try:
        entry: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    said = {
        what: next((str(entry[name]) for name in names if isinstance(entry.get(name), str | int | float)), "")
        for what, names in _NAMES.items()
    }
    request = said["request"] or f"{said['method']} {said['path']}"
    return _call(request, said["time"], said["agent"] or said["client"])


def _call(request: str, time: str, client: str) -> _Call | None:
    parts = _REQUEST.fullmatch(request)
    # What others wrote into the log is not let onto the terminal.
    return None if parts is None else _Call(parts["method"], parts["path"], _shown(time), _shown(client))


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:100]


def _template(path: str) -> str:
    parts = [_shown(unquote(part)) for part in path.split("/")]
    return "/".join("{id}" if parse_id(part) is not None else part for part in parts)
