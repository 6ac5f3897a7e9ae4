"""What becomes of alerts when a twin's rules change, in the transaction of the change, which holds the twin's row."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from core.operations.context import Context
from handlers.twins.telemetry.happenings import Reason, cleared_by_change
from handlers.twins.telemetry.rules import Rule
from handlers.twins.telemetry.storing import SQL


async def follow_rules(
    ctx: Context, id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    """Have the rules of `after` watched, and clear the alerts of those of `before` that are others or are gone.

    Those of a deleted twin go with it, and nothing is told of them.
    """
    old, new = _rules_of(before), _rules_of(after)
    if after is None or old == new:
        return
    by_name = {rule["name"]: _text(rule) for rule in new}
    rows = {row["rule"]: row for row in await ctx.db.fetch(SQL["rules_of"], id)}
    gone = [name for name, row in rows.items() if by_name.get(name) != row["definition"]]
    for name in gone:
        if rows[name]["state"] == "raised":
            _clear(ctx, id, rows[name]["definition"], "rule_changed" if name in by_name else "rule_removed")
    if gone:
        await ctx.db.execute(SQL["forget_rules"], id, gone)
    added = [rule for rule in new if rule["name"] in gone or rule["name"] not in rows]
    if added:
        names, metrics = [rule["name"] for rule in added], [rule["metric"] for rule in added]
        await ctx.db.execute(SQL["add_rules"], id, names, metrics, [_text(rule) for rule in added])


def _rules_of(fields: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    # Twins that an older release has written have none.
    return [] if fields is None else fields.get("rules", [])


def _text(rule: Mapping[str, Any]) -> str:
    return orjson.dumps(rule).decode()


def _clear(ctx: Context, id: UUID, definition: str, reason: Reason) -> None:
    rule = Rule.model_validate(orjson.loads(definition))
    ctx.emit("twin.alert.cleared", f"twins/{id}", cleared_by_change(id, rule, reason, ctx.now))
