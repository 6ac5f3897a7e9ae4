"""`call`: the operations of the hub, run for one connection. Several at a time; results come as they are ready."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from core.auth.caller import Caller
from core.errors import HubError
from core.operations.operation import Registry
from core.operations.results import Deleted, Document, Made, Page, Poured, Shown, Streamed
from core.operations.run import Outcome
from core.operations.runner import Runner
from hub.stream.commands import Call, Refusal
from hub.stream.members import shown


@dataclass(frozen=True, slots=True)
class Operations:
    """What can be called on this node."""

    runner: Runner
    registry: Registry


class Calls:
    """The calls under way of one connection. `say` sends the members of a `result` frame, `refuse` an error.

    `request_id` stands in the audit of what is called.
    """

    __slots__ = ("_most", "_operations", "_refuse", "_request_id", "_running", "_say")

    def __init__(
        self,
        operations: Operations,
        *,
        request_id: str,
        most: int,
        say: Callable[[Call, Mapping[str, Any]], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        self._operations = operations
        self._request_id = request_id
        self._most = most
        self._say = say
        self._refuse = refuse
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, caller: Caller, call: Call) -> None:
        """Run `call` beside what else the connection does."""
        if len(self._running) >= self._most:
            self._refuse(Refusal(call.id, HubError("TOO_MANY_CALLS", f"A connection has at most {self._most} calls")))
            return
        task = asyncio.get_running_loop().create_task(self._run(caller, call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def close(self) -> None:
        """End what is under way: nobody hears its result. What is committed stays; a key tells a repeat what became of it."""
        for task in self._running:
            task.cancel()

    async def _run(self, caller: Caller, call: Call) -> None:
        try:
            members = _members_of(await self._outcome(caller, call))
        except HubError as refused:
            self._refuse(Refusal(call.id, refused))
        except Exception:  # noqa: BLE001 - the boundary: a bug must not show its text to the caller, nor end its socket
            structlog.get_logger().exception("call_failed", operation=call.operation, request_id=self._request_id)
            self._refuse(Refusal(call.id, HubError("INTERNAL_ERROR")))
        else:
            self._say(call, members)

    async def _outcome(self, caller: Caller, call: Call) -> Outcome:
        try:
            operation = self._operations.registry[call.operation]
        except KeyError as unknown:
            raise HubError("RESOURCE_NOT_FOUND", f"There is no operation {shown(call.operation)}") from unknown
        return await self._operations.runner.run(
            operation, caller, call.input, request_id=self._request_id, idempotency_key=call.idempotency_key
        )


def _members_of(outcome: Outcome) -> dict[str, Any]:
    """Return what a `result` frame says of an outcome. A stream operation will have a way of its own here."""
    members: dict[str, Any] = {"result": _result_of(outcome.result)}
    if outcome.event_id is not None:
        members["event_id"] = str(outcome.event_id)
    if outcome.replayed:
        members["replayed"] = True
    return members


def _result_of(result: Any) -> Any:
    """Return a result as REST answers it; of a deletion its id and its last version."""
    match result:
        case Document(body=body) | Made(body=body) | Shown(body=body):
            return orjson.Fragment(body)
        case Deleted(id=id, version=version):
            return {"id": str(id), "version": version}
        case Page(items=items, is_whole=is_whole):
            incomplete = {} if is_whole else {"incomplete": True}
            return {"data": [orjson.Fragment(item) for item in items], "pagination": result.pagination(), **incomplete}
        case Streamed():  # not begun: nothing is held by it, nor by the next
            raise HubError("NOT_ACCEPTABLE", "A call has one result: ask without `stream`, or by REST")
        case Poured():
            raise HubError("NOT_ACCEPTABLE", "The result is too long for a frame: ask by REST")
        case _:
            raise TypeError(f"an operation answered {type(result).__name__}")
