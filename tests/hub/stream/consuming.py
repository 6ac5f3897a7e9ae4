"""What tests of consumers over the socket do: make subscriptions, look at them, answer deliveries."""

from typing import Any
from uuid import UUID

from core.clock import SystemClock
from core.events.subscriptions import store
from core.events.subscriptions.subscription import NewSubscription
from core.ids import new_id
from tests.harness.stream_client import Frame, StreamClient
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node

RIGHTS = ["write:subscriptions", "read:events"]


async def subscribed(node: Node, org_id: UUID, **fields: Any) -> str:
    """Make a subscription to all that follows; return its channel."""
    given: dict[str, Any] = {"id": new_id(), "name": str(new_id()), "delivery": "socket", "types": ["agent.*"]}
    given |= {"delays": [0.0], **fields}
    async with node.database.read(org_id) as db:
        made = await store.create(db, org_id, NewSubscription(**given), SystemClock().now(), None)
    return f"subscriptions:{made.id}"


async def set_status(node: Node, org_id: UUID, channel: str, status: Any) -> None:
    """Pause, resume or disable."""
    async with node.database.transaction(org_id) as db:
        await store.change(db, org_id, id_of(channel), store.Change(status=status), SystemClock().now())


async def figures(node: Node, org_id: UUID, channel: str) -> store.Figures:
    """Return how it is doing."""
    async with node.database.read(org_id) as db:
        return await store.figures(db, org_id, id_of(channel))


async def all_done(node: Node, org_id: UUID, channel: str) -> None:
    """Wait until everything is acknowledged."""

    async def is_done() -> bool:
        now = await figures(node, org_id, channel)
        return (now.lag, now.outstanding) == (0, 0)

    await eventually(is_done, what=f"{channel} has nothing left")


def id_of(channel: str) -> UUID:
    """Return the subscription's id."""
    return UUID(channel.partition(":")[2])


async def answer(client: StreamClient, kind: str, *events: Frame, **members: Any) -> Frame:
    """Answer deliveries, and return what the hub says to it."""
    named = {"channel": events[0]["channel"], "deliveries": [each["delivery"] for each in events]}
    return await client.ask({"type": kind, **named, **members})


async def ack_quietly(client: StreamClient, event: Frame) -> None:
    """Acknowledge without asking for a reply."""
    await client.send({"type": "ack", "channel": event["channel"], "deliveries": [event["delivery"]]})


async def came(client: StreamClient, count: int, *, within: float = 30.0) -> list[Frame]:
    """Return all events that came, once there are `count`; they may come before an answer."""
    while sum(frame["type"] == "event" for frame in client.frames) < count:
        await client.receive(within=within)
    return [frame for frame in client.frames if frame["type"] == "event"]


def code_of(frame: Frame) -> str:
    """Return the code of an error."""
    assert frame["type"] == "error", frame
    return frame["error"]["code"]
