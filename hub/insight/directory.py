"""The open streams of all nodes, for handlers.connections: the nodes are asked, and answer from memory.

Nothing is kept in Redis about a stream, so opening ten thousand of them costs it nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from core.clock import rfc3339
from core.errors import HubError
from handlers.connections.operations import Found
from handlers.lists.cursors import plain
from handlers.lists.held import Choice, Picked, merged, picked
from hub.insight.sockets import Socket, Sockets
from hub.nodes import Answers, Body, Nodes
from hub.stream.codes import CLOSED_BY_ADMINISTRATOR

_LIST, _FIND, _END = "connections.list", "connections.find", "connections.end"


class Directory:
    """The streams of every node, for this one, and this one's, for every node. `sockets` gives those of this node."""

    def __init__(self, nodes: Nodes, sockets: Sockets) -> None:
        self._nodes = nodes
        self._sockets = sockets
        nodes.answer(_LIST, self._list_here)
        nodes.answer(_FIND, self._find_here)
        nodes.answer(_END, self._end_here)

    async def list(self, org_id: UUID, choice: Choice) -> Found:
        """Return those of the organisation's streams that are chosen."""
        answers = await self._nodes.ask(_LIST, {"org_id": str(org_id), "choice": choice.as_object()})
        parts = [Picked(part["first"], part["total"]) for part in answers.bodies.values()]
        return Found(merged(parts, choice), answers.is_whole)

    async def find(self, org_id: UUID, id: str) -> Mapping[str, Any] | None:
        """Return one stream, with its channels."""
        return _only(await self._nodes.ask(_FIND, {"org_id": str(org_id), "id": id}, one=True))

    async def end(self, org_id: UUID, id: str) -> bool:
        """Close one stream; tell whether there was one."""
        return _only(await self._nodes.ask(_END, {"org_id": str(org_id), "id": id}, one=True)) is not None

    def _list_here(self, body: Body) -> Body:
        found = picked(self._of(body["org_id"]), Choice.of(body["choice"]), self._look, self._record)
        return {"first": found.first, "total": found.total}

    def _find_here(self, body: Body) -> Body | None:
        found = self.here(body["org_id"], body["id"])
        return None if found is None else {**self._record(found), "subscriptions": sorted(found.channels)}

    def _end_here(self, body: Body) -> Body | None:
        found = self.here(body["org_id"], body["id"])
        if found is None:
            return None
        found.end(CLOSED_BY_ADMINISTRATOR)
        return {}

    def here(self, org_id: str, id: str) -> Socket | None:
        """Return a stream of this node."""
        return next((each for each in self._of(org_id) if each.id == id), None)

    def _of(self, org_id: str) -> Iterator[Socket]:
        wanted = UUID(org_id)
        return (each for each in self._sockets() if each.caller is not None and each.caller.org_id == wanted)

    def _look(self, socket: Socket, field: str) -> Any:
        """Return what a stream is filtered and sorted by; raises KeyError for a field of another release."""
        match field:
            case "id":
                return socket.id
            case "node":
                return self._nodes.node
            case "subject":
                return "" if socket.caller is None else socket.caller.subject
            case "since":
                return plain(socket.since)
            case "channels":
                return len(socket.channels)
            case "waiting_bytes":
                return socket.outbound.waiting_bytes
            case "channel":
                return tuple(socket.channels)
            case _:
                raise KeyError(field)

    def _record(self, socket: Socket) -> dict[str, Any]:
        caller = socket.caller
        return {
            "id": socket.id,
            "node": self._nodes.node,
            "subject": None if caller is None else caller.subject,
            "since": rfc3339(socket.since),
            "channels": len(socket.channels),
            "waiting_bytes": socket.outbound.waiting_bytes,
        }


def _only(answers: Answers) -> Body | None:
    found = next(iter(answers.bodies.values()), None)
    if found is None and not answers.is_whole:
        raise HubError("SERVICE_UNAVAILABLE", "A node that may have this stream does not answer", retry_after=2)
    return found
