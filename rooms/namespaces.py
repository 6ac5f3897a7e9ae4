"""What a node knows of namespaces: the built-in rules, over them the operator's file, over these an organisation's own.

    namespaces.of(org_id)["chat"] -> LiveRules

A look is one or two of dictionaries, and waits for nothing: who keeps the table up to date replaces an organisation's part of it as
a whole (`settle`), so nobody ever sees half a change. One of a node, kept by its LiveStore.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from uuid import UUID

from core.errors import HubError
from core.events.event import namespace_of
from rooms.live_rules import LIVE, LOG_WILDCARDS, LiveRules
from rooms.names import Channel, parse_channel
from rooms.sanctions import Sanctions

# Called with the organisation whose rules have changed.
Hear = Callable[[UUID], None]


class Namespaces:
    """The table; `base` is what goes for all organisations, and `log` which namespaces of the log have wildcards.

    `sanctions` are kept beside it: who may join and publish is asked of both.
    """

    def __init__(self, base: Mapping[str, LiveRules] = LIVE, log: Mapping[str, bool] = LOG_WILDCARDS) -> None:
        self.base = MappingProxyType(dict(base))
        self.log = MappingProxyType(dict(log))
        self.sanctions = Sanctions()
        self._live: dict[UUID, Mapping[str, LiveRules]] = {}
        self._log: dict[UUID, Mapping[str, bool]] = {}
        self._listeners: list[Hear] = []

    def of(self, org_id: UUID) -> Mapping[str, LiveRules]:
        """Return the organisation's live namespaces by name."""
        return self._live.get(org_id, self.base)

    def channel(self, org_id: UUID, name: str) -> Channel:
        """Take a channel's name apart, with what goes for it in the organisation.

        Raises HubError CHANNEL_NOT_FOUND, and FORBIDDEN for a name that stands for several where these are joined one by one.

        Every door begins here, for what may_join and may_publish (rooms/names.py) then say holds for own namespaces and
        sanctions too.
        """
        channel = parse_channel(name, self.of(org_id), self.sanctions.of(org_id, name))
        if channel.prefix is not None and not self.may_wildcard(org_id, channel.namespace):
            raise HubError("FORBIDDEN", f"Channels of {channel.namespace} are joined one by one")
        return channel

    def rules_of(self, org_id: UUID, channel: str) -> LiveRules | None:
        """Return the rules of a channel by its name; None where it is of no live namespace."""
        return self._live.get(org_id, self.base).get(namespace_of(channel))

    def has_presence(self, org_id: UUID, channel: str) -> bool:
        """Tell whether who is in the channel is kept and told."""
        rules = self._live.get(org_id, self.base).get(namespace_of(channel))
        return rules is not None and rules.presence

    def may_wildcard(self, org_id: UUID, namespace: str) -> bool:
        """Tell whether `<namespace>:*` may be joined, by whoever may join each of its channels."""
        rules = self._live.get(org_id, self.base).get(namespace)
        if rules is not None:
            return rules.wildcard
        return self._log.get(org_id, self.log).get(namespace, False)

    def when_changed(self, hear: Hear) -> None:
        """Have `hear` called after each change, in the same turn of the loop."""
        self._listeners.append(hear)

    def settle(self, org_id: UUID, live: Mapping[str, LiveRules] | None, log: Mapping[str, bool] | None = None) -> None:
        """Let these be all of the organisation's namespaces from now on; None: those of everybody. Who listens hears of it."""
        if live is None:
            self._live.pop(org_id, None)
        else:
            self._live[org_id] = MappingProxyType(dict(live))
        if log is None:
            self._log.pop(org_id, None)
        else:
            self._log[org_id] = MappingProxyType(dict(log))
        for hear in self._listeners:
            hear(org_id)
