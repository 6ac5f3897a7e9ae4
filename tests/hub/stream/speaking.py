"""What a client in live rooms says, and what came of it."""

from typing import Any
from uuid import UUID

from tests.harness.stream_client import Frame, StreamClient


async def publish(client: StreamClient, channel: str, data: Any) -> Frame:
    """Publish, and return what stands under `result`."""
    answer = await client.ask({"type": "publish", "channel": channel, "data": data})
    assert answer["type"] == "result", answer
    return answer["result"]


async def refused(client: StreamClient, frame: dict[str, Any]) -> str:
    """Return the code with which a frame is refused."""
    answer = await client.ask(frame)
    assert answer["type"] == "error", answer
    return answer["error"]["code"]


async def came(client: StreamClient, count: int, kind: str = "event") -> list[Frame]:
    """Return all frames of a kind that have come, `count` of them: those of an own publish may come before its result."""
    while len(found := [frame for frame in client.frames if frame["type"] == kind]) < count:
        await client.receive()
    assert len(found) == count, found
    return found


def data_of(frames: list[Frame]) -> list[Any]:
    return [frame["event"]["data"] for frame in frames]


def place_of(answer: Frame) -> tuple[str, str, bool]:
    (item,) = answer["channels"]
    return item["offset"], item["epoch"], item["recovered"]


def org_of(client: StreamClient) -> Any:
    """Return the organisation that a connection speaks for."""
    return UUID(client.frames[0]["org_id"])
