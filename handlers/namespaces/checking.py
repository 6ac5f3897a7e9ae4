"""What is refused of settings of a namespace: from a file, or by a request."""

from collections.abc import Mapping
from typing import Any

from core.errors import Detail, HubError
from rooms.live_rules import LOG_WILDCARDS, LiveRules
from rooms.namespace_rules import fixed_of, may_be_made


def check(namespace: str, before: LiveRules | None, settings: Mapping[str, Any]) -> None:
    """Return where `settings` may go for a namespace, over the rules that it has without them (None: it is new).

    Raises HubError RESOURCE_NOT_FOUND for a name that no namespace may have, VALIDATION_ERROR (NOT_CHANGEABLE) of what is fixed.
    """
    if before is None and namespace not in LOG_WILDCARDS and not may_be_made(namespace):
        raise HubError(
            "RESOURCE_NOT_FOUND",
            "A namespace of one's own is called a letter and 1 to 31 of a-z, 0-9, _ and -, and nothing that the hub has",
        )
    fixed = [
        Detail(name, "NOT_CHANGEABLE", f"It cannot be set for {namespace}")
        for name in settings
        if name in fixed_of(namespace)
    ]
    if fixed:
        raise HubError("VALIDATION_ERROR", details=fixed)
