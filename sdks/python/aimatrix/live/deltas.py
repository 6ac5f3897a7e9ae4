"""Channels that were asked for with `"delta": true`: what came as a JSON Patch is made whole again. No I/O.

Wire form: docs/views.md, "Deltas". What was handed out is never changed: a patch makes new containers along its paths alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aimatrix.live.events import Event


class Deltas:
    """The states that channels with deltas have brought, by subject; what is forgotten by the hub comes whole from it."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}

    def follow(self, channel: str) -> None:
        """Keep the states of a channel."""
        self._kept.setdefault(channel, {})

    def leave(self, channel: str) -> None:
        """Keep them no more."""
        self._kept.pop(channel, None)

    def begin(self, channel: str) -> None:
        """Forget what a channel has brought: it is subscribed anew, or was reset."""
        if channel in self._kept:
            self._kept[channel] = {}

    def made_whole(self, event: Event) -> Event:
        """Return the event with its data, where it came as a patch. Raises KeyError where nothing is known that it could change."""
        kept = self._kept.get(event.channel)
        if kept is None:
            return event
        body, frame = event.body, event.frame
        subject, kind = body["subject"], str(body["type"])
        if "patch" in frame:
            kept[subject] = data = patched(kept[subject], frame["patch"])
            return Event(event.channel, event.place, {**frame, "event": {**body, "data": data}})
        is_state = kind.endswith((".created", ".updated"))
        data = body.get("data")
        if (
            kind.endswith(".deleted")
            or "left" in frame
            or (is_state and isinstance(data, dict) and "truncated" in data)
        ):
            kept.pop(subject, None)
        elif is_state:
            kept[subject] = data
        return event


def patched(value: Any, patch: Sequence[Mapping[str, Any]]) -> Any:
    """Apply a JSON Patch (RFC 6902) of `add`, `remove` and `replace`; return what it makes."""
    for operation in patch:
        # RFC 6901, section 4: first ~1, then ~0.
        path = [token.replace("~1", "/").replace("~0", "~") for token in operation["path"].split("/")[1:]]
        value = _changed(value, path, operation)
    return value


def _changed(value: Any, path: Sequence[str], operation: Mapping[str, Any]) -> Any:
    if not path:
        return operation["value"]
    token, rest = path[0], path[1:]
    made: Any = value.copy()
    key: Any = token
    if isinstance(made, list):
        key = len(value) if token == "-" else int(token)  # noqa: S105 - RFC 6901's end of a list
    if rest:
        made[key] = _changed(made[key], rest, operation)
    elif operation["op"] == "remove":
        del made[key]
    elif operation["op"] == "add" and isinstance(made, list):
        made.insert(key, operation["value"])
    else:
        made[key] = operation["value"]
    return made
