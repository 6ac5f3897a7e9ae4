"""A client of the stream on bare `websockets`, written from docs/protocol.md alone ("Write your own client").

It shares nothing with an SDK. What the page says is followed to the letter; what it leaves open is left out: presence, requests, a
fallback.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.harness.waiting import let_pass

# "Below 3000, all come back but these".
STAY_AWAY = {1000, 1002, 1003, 1007, 1008, 1009, 1010}
# "codes of the log": `position` speaks of these channels.
OF_THE_LOG = ("agents", "knowledge", "twins", "events")
ASK_AGAIN = {"SERVICE_UNAVAILABLE", "TIMEOUT"}


@dataclass
class BareClient:
    """Follows `channels` until it is cancelled or told to stay away.

    `said` is what the program was told: (channel, epoch, offset, event id), without an id where a reset came. `hurry` shortens the
    pauses, so that a test need not wait for them.
    """

    url: str
    key: str
    channels: list[str]
    hurry: float = 0.02
    said: list[tuple[str, str, int, str]] = field(default_factory=list[tuple[str, str, int, str]])
    start: dict[str, int] = field(default_factory=dict[str, int])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    sockets: int = 0
    _places: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _failures: int = 0
    _after_ms: int | None = None

    async def follow(self) -> None:
        """The loop at the end of the page."""
        while True:
            self._after_ms = None
            retry_after = 0.0
            try:
                code = await self._one_socket()
            except InvalidStatus as answer:
                if answer.response.status_code in (401, 403):
                    raise
                retry_after = float(answer.response.headers.get("Retry-After", 0))
                code = 1006
            except (InvalidHandshake, OSError, EOFError, TimeoutError):
                code = 1006
            if not comes_back(code):
                return
            await self._pause(retry_after)

    async def _pause(self, retry_after: float) -> None:
        if self._after_ms is not None:
            await let_pass(self._after_ms / 1000)
            return
        pause = random.uniform(0, min(30.0, 0.5 * 2**self._failures))
        self._failures += 1
        await let_pass(max(retry_after, pause * self.hurry))

    async def _one_socket(self) -> int:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with connect(
            self.url, additional_headers=headers, compression=None, open_timeout=5, close_timeout=1
        ) as socket:
            self.sockets += 1
            try:
                await self._join(socket, self.channels)
                async for message in socket:
                    await self._take(socket, json.loads(message))
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 1006
            return socket.close_code or 1006

    async def _join(self, socket: ClientConnection, channels: list[str]) -> None:
        wanted = [
            {"channel": channel, **self._places.get(channel, {})} for channel in channels if channel not in self.refused
        ]
        await socket.send(json.dumps({"id": 1, "type": "subscribe", "channels": wanted}))

    async def _take(self, socket: ClientConnection, frame: Mapping[str, Any]) -> None:
        match frame["type"]:
            case "subscribed":
                await self._subscribed(socket, frame["channels"])
            case "event" if frame["channel"] in self._places:
                # "hand it to the program, then take its offset (and its epoch where it has one)"
                place = self._places[frame["channel"]]
                epoch = frame.get("epoch", place["epoch"])
                self.said.append((frame["channel"], epoch, int(frame["offset"]), frame["event"]["id"]))
                self._places[frame["channel"]] = {"offset": frame["offset"], "epoch": epoch}
            case "reset":
                self._places[frame["channel"]] = {"offset": frame["offset"], "epoch": frame["epoch"]}
                self.said.append((frame["channel"], frame["epoch"], int(frame["offset"]), ""))
            case "position":
                self._bookmark(frame)
            case "pong" if "position" in frame:
                self._bookmark(frame["position"])
            case "disconnect":
                self._after_ms = frame["after_ms"]
            case _:
                pass  # "Ignore frames of an unknown type"

    async def _subscribed(self, socket: ClientConnection, items: list[Mapping[str, Any]]) -> None:
        self._failures = 0
        again: list[str] = []
        for item in items:
            channel = item["channel"]
            if "error" in item:
                if item["error"]["code"] in ASK_AGAIN:
                    again.append(channel)
                else:
                    self.refused[channel] = item["error"]["code"]
                continue
            if channel not in self._places or item["recovered"]:
                self._places[channel] = {"offset": item["offset"], "epoch": item["epoch"]}
            self.start.setdefault(channel, int(item["offset"]))
        if again:
            await let_pass(0.1)
            await self._join(socket, again)

    def _bookmark(self, position: Mapping[str, str]) -> None:
        for channel, place in self._places.items():
            is_of_the_log = channel.partition(":")[0] in OF_THE_LOG and not channel.endswith("/telemetry")
            if is_of_the_log and place["epoch"] == position["epoch"] and int(position["offset"]) > int(place["offset"]):
                place["offset"] = position["offset"]


def comes_back(code: int) -> bool:
    """Tell by its range whether a code comes back."""
    if code < 3000:
        return code not in STAY_AWAY
    return 3000 <= code < 3500 or 4000 <= code < 4500


def running(client: BareClient) -> "asyncio.Task[None]":
    """Start it."""
    return asyncio.create_task(client.follow())
