"""What may be said of a namespace, and the rules that come of it. No I/O.

    built-in rules <- the operator's file <- the organisation's own settings

A namespace that is not built in comes of settings alone: its channels are `<namespace>:<name>`.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from rooms.live_rules import DAY, KIB, LIVE, LOG_WILDCARDS, TELEMETRY, LiveRules
from rooms.names import CONSUMED

# What can be set, by the names that LiveRules has.
SETTINGS = (
    "read_scope",
    "publish_scope",
    "members_only",
    "delivery",
    "key",
    "history_entries",
    "history_bytes",
    "history_seconds",
    "message_bytes",
    "publishes_per_second",
    "organisation_publishes_per_second",
    "presence",
    "wildcard",
)
OF_THE_LOG = ("wildcard",)
_WHO = frozenset({"read_scope", "publish_scope", "members_only"})
_WAY = frozenset({"delivery", "key"})
_RATES = frozenset({"publishes_per_second", "organisation_publishes_per_second"})
# The hub alone publishes there, in the order that readers need, and tells what is missing by what it keeps itself.
_HUBS = _WHO | _WAY | _RATES | {"message_bytes", "wildcard"}
# What is what it is, of built-in namespaces.
FIXED: Mapping[str, frozenset[str]] = {
    "runs": _HUBS,
    "sessions": _HUBS,
    "simulations": _HUBS,
    # What is measured is stored, as REST stores it too.
    TELEMETRY: _WHO | _WAY | {"message_bytes", "wildcard"},
    # Of one person each; all of an organisation arrive together.
    "users": _WAY | {"read_scope", "members_only", "presence", "wildcard"},
    # Each message counts, and what was said of one before.
    "chat": _WAY,
}
# What telemetry's namespace is called where it is named alone.
_SHOWN = {TELEMETRY: "telemetry"}
_NAMED = {shown: name for name, shown in _SHOWN.items()}
NAME = re.compile(r"[a-z][a-z0-9_-]{1,31}")
# Words of the hub's own, and what its events' types begin with.
RESERVED = frozenset(
    {
        *LIVE,
        *LOG_WILDCARDS,
        *_NAMED,
        CONSUMED,
        *("agent", "event", "run", "session", "simulation", "subscription", "twin", "user"),
        *("aimatrix", "custom", "hub", "system", "channel", "channels", "stream", "streams", "presence", "namespace"),
        *("namespaces", "chats", "key", "keys", "token", "tokens", "webhook", "webhooks", "connection", "connections"),
        *("job", "jobs", "audit", "executions", "execution", "documents", "document", "branches", "feed", "live"),
    }
)


def shown_name(namespace: str) -> str:
    """Return what a namespace is called where it is named alone."""
    return _SHOWN.get(namespace, namespace)


def namespace_named(name: str) -> str:
    """Return the namespace that is called so where it is named alone."""
    return _NAMED.get(name, name)


def may_be_made(name: str) -> bool:
    """Tell whether a namespace of one's own may be called so."""
    return NAME.fullmatch(name) is not None and name not in RESERVED


def new_rules(name: str) -> LiveRules:
    """Return the rules of a namespace of one's own of which nothing more is said."""
    return LiveRules(name, "read:streams", "write:streams", 512, 1024 * KIB, DAY, names="name", is_own=True)


def ruled(rules: LiveRules, settings: Mapping[str, Any]) -> LiveRules:
    """Return the rules with settings in their place; those that this release does not know are passed over."""
    known = {name: value for name, value in settings.items() if name in SETTINGS}
    made = replace(rules, **known)
    # What the history shows must not outlive the offsets that it is shown by.
    return replace(made, remembered=max(rules.remembered, made.history_seconds))


def settings_of(rules: LiveRules) -> dict[str, Any]:
    """Return what can be set, as it is in these rules."""
    return {field.name: getattr(rules, field.name) for field in fields(rules) if field.name in SETTINGS}


def fixed_of(namespace: str) -> frozenset[str]:
    """Return what cannot be set of a namespace."""
    if namespace in LOG_WILDCARDS:
        return frozenset(SETTINGS) - frozenset(OF_THE_LOG)
    return FIXED.get(namespace, frozenset())


def tables_of(
    live: Mapping[str, LiveRules], log: Mapping[str, bool], set_: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, LiveRules], dict[str, bool]]:
    """Return both tables of Namespaces with what is set over them, by the namespaces' names."""
    live, log = dict(live), dict(log)
    for name, settings in set_.items():
        if name in log:
            log[name] = bool(settings.get("wildcard", log[name]))
        else:
            live[name] = ruled(live.get(name) or new_rules(name), settings)
    return live, log
