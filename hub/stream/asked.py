"""What a subscribe frame asks for, channel by channel."""

from hub.stream.commands import RefusedChannel, Wanted
from hub.stream.subscription import Subscription
from rooms.recovery import Start


class Asked:
    """An item of a subscribe frame, and the subscription that it means (None: refused)."""

    __slots__ = ("item", "subscription")

    def __init__(self, item: Wanted | RefusedChannel, subscription: Subscription | None) -> None:
        self.item: Wanted | RefusedChannel = item
        self.subscription = None if isinstance(item, RefusedChannel) else subscription


def has_had(item: Wanted, start: Start, epoch: str, highest: int) -> bool:
    """Tell whether this connection gets everything after the offset that a repeated subscribe names."""
    if item.offset is None:
        # Those are not looked up for a channel that stays as it is.
        return item.since is None and item.after_event is None
    return start.after <= item.offset <= highest and item.epoch in (None, epoch)
