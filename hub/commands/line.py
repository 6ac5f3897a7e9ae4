"""The command line: which commands there are, what they take, and how they fail."""

import argparse
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import uvloop

from core.settings import Settings, SettingsError
from hub.commands import doctor, evaluate, keys, migrate, openapi, orgs, serve, v1_calls, work
from hub.commands.failures import FAILURES, reason_of
from hub.logs import configure_logs

# More processes than any machine has use for; a typing mistake should not start them.
MOST_WORKERS = 512
Command = Callable[[Settings, argparse.Namespace], Coroutine[Any, Any, int]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed with a reason on stderr, 2 wrong use."""
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings.load(
            host=getattr(arguments, "host", None),
            port=getattr(arguments, "port", None),
            jobs=False if getattr(arguments, "no_jobs", False) else None,
        )
    except SettingsError as error:
        return _failed(f"A setting is wrong:\n{error}")
    configure_logs(settings.log)
    command: Command = arguments.command
    try:
        if getattr(arguments, "workers", None) is not None:
            serve.with_workers(settings, arguments.workers)
        return uvloop.run(command(settings, arguments))
    except KeyboardInterrupt:
        return 130
    except FAILURES as error:
        return _failed(reason_of(error))


def _failed(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201 - a command speaks to a person
    return 1


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MOST_WORKERS):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes: from 1 to {MOST_WORKERS}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hub", description="AIMatrix Hub. Settings: see the README.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    one = commands.add_parser("serve", help="serve, until SIGTERM or Ctrl-C")
    one.add_argument("--host", help="address to listen on (HUB_HOST, else 127.0.0.1)")
    one.add_argument("--port", type=int, help="port to listen on (HUB_PORT, PORT, else 8080); 0 takes a free one")
    one.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="serve by N processes on the one address, with a parent that restarts them; SIGHUP replaces them one by one",
    )
    one.add_argument("--no-jobs", action="store_true", help="leave jobs to others: python -m hub work")
    one.set_defaults(command=serve.run)

    one = commands.add_parser("work", help="do jobs without serving, until SIGTERM or Ctrl-C")
    one.set_defaults(command=work.run)

    one = commands.add_parser("migrate", help="bring the database to the newest revision")
    one.add_argument("--new-epoch", action="store_true", help="begin a new epoch of the log: after every restore")
    one.set_defaults(command=migrate.run)

    one = commands.add_parser("openapi", help="print the REST door's OpenAPI document")
    one.add_argument("--version", choices=openapi.VERSIONS, default=openapi.VERSIONS[0], help="of OpenAPI (3.1)")
    one.set_defaults(command=openapi.run)

    one = commands.add_parser("doctor", help="say what is wrong, and its cure")
    one.set_defaults(command=doctor.run)

    keys.add_to(commands)
    orgs.add_to(commands)
    v1_calls.add_to(commands)
    evaluate.add_to(commands)
    return parser
