"""The presence of one connection: the channels in which it is a member, and those of which it hears who else is."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from core.errors import HubError
from hub.stream.members import invalid
from hub.stream.presence_listeners import NodePresence
from hub.stream.subscription import Owner, Sources, Subscription


class PresentChannels:
    """What Subscriptions leaves to it. `is_current` tells whether a subscription was not left meanwhile."""

    __slots__ = ("_is_current", "_owner", "_sources")

    def __init__(self, owner: Owner, sources: Sources, is_current: Callable[[Subscription], bool]) -> None:
        self._owner = owner
        self._sources = sources
        self._is_current = is_current

    async def place(self, org_id: UUID, subscriptions: Iterable[Subscription]) -> Mapping[str, HubError]:
        """Make the connection a member where it is one; return the channels that are refused.

        Those that have no presence are, and those whose members it would hear while Redis does not say who they are.
        """
        presence = self._sources.presence
        refused: dict[str, HubError] = {}
        placing: list[Subscription] = []
        for each in subscriptions:
            asks = each.wanted.presence
            if presence is not None and presence.rooms.is_member(org_id, each.channel, asks=asks):
                placing.append(each)
            elif asks:
                refused[each.channel] = invalid("presence", "INVALID_FORMAT", "The channel has no presence")
        if presence is not None and placing:
            outcomes = await asyncio.gather(
                *(self._place(org_id, each, presence) for each in placing), return_exceptions=True
            )
            for each, outcome in zip(placing, outcomes, strict=True):
                if isinstance(outcome, HubError):
                    refused[each.channel] = outcome
                elif outcome is not None:
                    raise outcome
        return refused

    def hear(self, org_id: UUID, subscriptions: Sequence[Subscription]) -> None:
        """Have the connection hear from now on what it asked for. `subscribed` follows in the same turn."""
        for each in subscriptions:
            if each.heard is not None and self._sources.presence is not None:
                self._sources.presence.listeners.add(org_id, each.channel, self._owner)

    def entry(self, subscription: Subscription) -> dict[str, Any]:
        """Return what `subscribed` says of it: after which version frames follow."""
        heard = subscription.heard
        if heard is None:
            return {}
        return {"presence": {"version": str(heard.last), "epoch": heard.epoch, "count": heard.count.shown()}}

    def leave(self, org_id: UUID, subscription: Subscription, *, may_return: bool = False) -> None:
        """Be no member any more: at once, or, where the connection was lost, after the grace."""
        presence = self._sources.presence
        if presence is None:
            return
        if subscription.heard is not None:
            subscription.heard = None
            presence.listeners.remove(org_id, subscription.channel, self._owner)
            presence.rooms.release(org_id, subscription.channel)
        if subscription.is_present:
            subscription.is_present = False
            presence.rooms.leave(org_id, subscription.channel, self._owner.id, may_return=may_return)

    async def _place(self, org_id: UUID, subscription: Subscription, presence: NodePresence) -> None:
        caller, channel = self._owner.caller, subscription.channel
        if caller is None or not self._is_current(subscription):
            return
        subscription.is_present = True
        presence.rooms.join(org_id, channel, caller.subject, self._owner.id)
        if subscription.wanted.presence:
            heard = await presence.rooms.acquire(org_id, channel)
            if not self._is_current(subscription):
                presence.rooms.release(org_id, channel)
                return
            subscription.heard = heard
        try:
            await presence.rooms.joined(org_id, channel, self._owner.id)
        except HubError:
            return  # it is registered as soon as Redis answers
