"""`keys create|list|revoke|rotate-signing`: API keys and the key that signs tokens, beside a running hub."""

import argparse
import json
from typing import Any

from core.auth.caller import ALL_SCOPES
from core.auth.keys import KeyRecord, create_key, list_keys, parse_scopes, revoke_key
from core.auth.organisations import ensure_organisation, find_organisation, set_tier
from core.auth.signing import rotate_signing_key
from core.clock import SystemClock, rfc3339
from core.settings import Settings
from hub.commands.owner import owner_of


def add_to(commands: Any) -> None:
    """Add `keys` and what it takes."""
    parser = commands.add_parser("keys", help="API keys, and the key that signs tokens")
    group = parser.add_subparsers(required=True, metavar="create|list|revoke|rotate-signing")

    one = group.add_parser("create", help="make a key; it is shown once")
    one.add_argument("--org", required=True, help="the organisation's slug; it is made if it is missing")
    one.add_argument("--tier", choices=("free", "pro", "enterprise"), help="the organisation's tier")
    one.add_argument("--scopes", help="scopes, separated by spaces; all where none are given")
    one.add_argument("--name", default="key", help="to tell keys apart")
    one.add_argument("--json", action="store_true", help="print one JSON object: key id org_id scopes tier")
    one.set_defaults(command=create)

    one = group.add_parser("list", help="list keys, without the keys themselves")
    one.add_argument("--org", help="only this organisation's")
    one.set_defaults(command=show)

    one = group.add_parser("revoke", help="end a key, on every node within 2 s")
    one.add_argument("key", help="the key's id, or the key itself")
    one.set_defaults(command=revoke)

    one = group.add_parser("rotate-signing", help="let a new key sign the hub's own tokens")
    one.add_argument("--end-tokens", action="store_true", help="end every token of the keys before, within 2 s")
    one.set_defaults(command=rotate_signing)


async def create(settings: Settings, arguments: argparse.Namespace) -> int:
    """Make a key, and its organisation where it is missing."""
    scopes = ALL_SCOPES if arguments.scopes is None else parse_scopes(arguments.scopes)
    async with owner_of(settings) as owner:
        organisation = await ensure_organisation(owner.connection, arguments.org, arguments.tier)
        if arguments.tier is not None and organisation.tier != arguments.tier:
            organisation = await set_tier(owner.connection, arguments.org, arguments.tier)
        record, key = await create_key(owner.connection, owner.secret, organisation.id, arguments.name, scopes)
    if arguments.json:
        made = {
            "key": key,
            "id": str(record.id),
            "org_id": str(organisation.id),
            "scopes": list(record.scopes),
            "tier": organisation.tier,
        }
        print(json.dumps(made))  # noqa: T201 - the command's answer
    else:
        print(f"{key}\nKeep it: it is not shown again. Its id is {record.id}")  # noqa: T201 - the command's answer
    return 0


async def show(settings: Settings, arguments: argparse.Namespace) -> int:
    """List keys."""
    async with owner_of(settings) as owner:
        org_id = None
        if arguments.org is not None:
            org_id = (await find_organisation(owner.connection, arguments.org)).id
        for record in await list_keys(owner.connection, org_id):
            print(_line(record))  # noqa: T201 - the command's answer
    return 0


async def revoke(settings: Settings, arguments: argparse.Namespace) -> int:
    """Revoke a key."""
    async with owner_of(settings) as owner:
        record = await revoke_key(owner.connection, owner.secret, arguments.key)
    print(_line(record))  # noqa: T201 - the command's answer
    return 0


async def rotate_signing(settings: Settings, arguments: argparse.Namespace) -> int:
    """Let a new key sign."""
    async with owner_of(settings) as owner:
        kid = await rotate_signing_key(owner.connection, owner.secret, end_tokens=arguments.end_tokens)
    print(f"Tokens are signed with {kid} now")  # noqa: T201 - the command's answer
    return 0


def _line(record: KeyRecord) -> str:
    state = "live"
    if record.revoked_at is not None:
        state = f"revoked {rfc3339(record.revoked_at)}"
    elif record.expires_at is not None:
        is_over = record.expires_at <= SystemClock().now()
        state = f"{'expired' if is_over else 'live until'} {rfc3339(record.expires_at)}"
    return f"{record.id}  {record.hint}...  {record.name}  {state}  {' '.join(record.scopes)}"
