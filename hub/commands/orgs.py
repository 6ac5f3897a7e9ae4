"""`orgs set|list`: organisations, their tiers and limits, beside a running hub."""

import argparse
from typing import Any

from core.auth.organisations import (
    Organisation,
    ensure_organisation,
    find_organisation,
    list_organisations,
    parse_limits,
    set_limits,
    set_tier,
)
from core.auth.tiers import LIMIT_NAMES
from core.ids import parse_id
from core.settings import Settings
from hub.commands.owner import owner_of


def add_to(commands: Any) -> None:
    """Add `orgs` and what it takes."""
    group = commands.add_parser("orgs", help="organisations").add_subparsers(required=True, metavar="set|list")

    one = group.add_parser("set", help="set tier and limits; the organisation is made if it is missing")
    one.add_argument("org", help="the organisation's slug or id")
    one.add_argument("--tier", choices=("free", "pro", "enterprise"))
    one.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=N",
        help=f"{', '.join(LIMIT_NAMES)}; without a number the tier's own again",
    )
    one.set_defaults(command=change)

    one = group.add_parser("list", help="list organisations with tier and limits")
    one.set_defaults(command=show)


async def change(settings: Settings, arguments: argparse.Namespace) -> int:
    """Set what was given."""
    limits = parse_limits(arguments.limit)
    async with owner_of(settings) as owner:
        if parse_id(arguments.org) is None:
            organisation = await ensure_organisation(owner.connection, arguments.org, arguments.tier)
        else:
            organisation = await find_organisation(owner.connection, arguments.org)
        if arguments.tier is not None and organisation.tier != arguments.tier:
            organisation = await set_tier(owner.connection, arguments.org, arguments.tier)
        if limits:
            organisation = await set_limits(owner.connection, arguments.org, limits)
    print(_line(organisation))  # noqa: T201 - the command's answer
    return 0


async def show(settings: Settings, arguments: argparse.Namespace) -> int:
    """List organisations."""
    async with owner_of(settings) as owner:
        for organisation in await list_organisations(owner.connection):
            print(_line(organisation))  # noqa: T201 - the command's answer
    return 0


def _line(organisation: Organisation) -> str:
    limits = organisation.limits
    return (
        f"{organisation.id}  {organisation.slug}  {organisation.tier}  requests_per_hour={limits.requests_per_hour} "
        f"burst={limits.burst} concurrent_connections={limits.concurrent_connections} "
        f"publishes_per_second={limits.publishes_per_second}  "
        f"telemetry_per_second={limits.telemetry_per_second}  "
        f"frames_per_second={limits.frames_per_second} bytes_per_second={limits.bytes_per_second}"
    )
