"""Resources of a test: events of their states as operations write them, and readers that fold frames into states."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import jsonpatch
import orjson

from core.clock import SystemClock
from core.events.event import new_event
from core.ids import new_id
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node

_TELL = """
    INSERT INTO outbox (org_id, event_id, type, subject, channel, time, envelope, short)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


@dataclass
class World:
    """The twins of an organisation, as they are now; `told` counts its events."""

    node: Node
    org_id: UUID
    kind: str = "twins"
    states: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    told: int = 0

    async def create(self, **data: Any) -> str:
        """Make one; return its id."""
        id = str(uuid4())
        await self._put(id, "created", {"id": id, "version": 1, **data})
        return id

    async def update(self, id: str, **changes: Any) -> None:
        """Change members of one; what is None then is taken out."""
        state = {**self.states[id], **changes, "version": self.states[id]["version"] + 1}
        await self._put(id, "updated", {name: value for name, value in state.items() if value is not None})

    async def delete(self, id: str) -> None:
        """Delete one."""
        gone = self.states.pop(id)
        await self.tell(f"{self.kind}/{id}", "deleted", {"id": id, "version": gone["version"] + 1})

    async def _put(self, id: str, what: str, state: dict[str, Any]) -> None:
        self.states[id] = state
        await self.tell(f"{self.kind}/{id}", what, state)

    async def tell(self, subject: str, what: str, data: Mapping[str, Any], *, channel: str = "") -> None:
        """Write an event into the outbox, cut short where it is too large, and wait until it is published."""
        event = new_event(
            event_id=new_id(),
            type=f"{self.kind.removesuffix('s')}.{what}",
            subject=subject,
            time=SystemClock().now(),
            data=orjson.dumps(data).decode(),
            short=orjson.dumps({"id": data.get("id"), "version": data.get("version"), "truncated": True}).decode(),
            channel=channel or None,
        )
        async with self.node.database.transaction(self.org_id) as db:
            row = (event.id, event.type, event.subject, event.channel, event.time, event.envelope, event.short)
            await db.execute(_TELL, self.org_id, *row)
        self.node.poke()
        self.told += 1
        await self.node.logged(self.org_id, self.told)

    async def handed_out(self) -> None:
        """Wait until everything that was told went to the fan-out of the node."""
        feeds = [feed for feed in self.node.feeds.present if feed.org_id == self.org_id]
        await eventually(lambda: all(feed.last >= self.told for feed in feeds), what=f"position {self.told} here")


@dataclass
class Fold:
    """What a reader of states holds: frames in, states by id. `whole` and `patched` count how states were told.

    `brought` are those that the channel has told whole since it was subscribed, where the reader says when that is (`anew`).
    """

    states: dict[str, Any] = field(default_factory=dict[str, Any])
    positions: list[int] = field(default_factory=list[int])
    brought: set[str] | None = None
    whole: int = 0
    patched: int = 0
    left: int = 0

    def anew(self) -> None:
        """The channel is subscribed again: what is told by what changed must be told whole before."""
        self.brought = set()

    def take(self, frame: Mapping[str, Any]) -> None:
        """Take an event frame, by docs/views.md."""
        event = frame["event"]
        self.positions.append(int(frame["offset"]))
        id = event["subject"].partition("/")[2]
        if self.brought is not None:
            assert "patch" not in frame or id in self.brought, f"a patch of what was not told whole: {frame}"
            is_state = "left" not in frame and not event["type"].endswith(".deleted")
            (self.brought.add if is_state else self.brought.discard)(id)
        if "left" in frame:
            self.left += 1
            self.states.pop(id, None)
        elif "patch" in frame:
            self.patched += 1
            assert "data" not in event
            self.states[id] = jsonpatch.apply_patch(self.states[id], frame["patch"])
        elif event["type"].endswith(".deleted"):
            self.states.pop(id, None)
        elif event["data"].get("truncated"):
            self.states[id] = None  # to be read
        else:
            self.whole += 1
            self.states[id] = event["data"]
