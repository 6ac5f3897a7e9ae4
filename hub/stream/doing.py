"""What a connection does for its client beside subscribing: calls, and what is asked of live rooms. Most connections need none."""

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from core.auth.caller import Caller
from core.errors import HubError
from hub.stream.beside import Beside
from hub.stream.calls import Calls
from hub.stream.commands import Call, OfRoom, Publish, Refusal
from hub.stream.frames import FrameId
from hub.stream.live_frames import LiveFrames
from hub.stream.parts import Parts
from rooms.live_rules import is_stored

# Publishes of one connection that are being stored.
STORED_AT_ONCE = 64


class Doing:
    """Of one connection, which is in `channels`.

    `say` sends the answer to a frame: its type, and its members; `refuse` an error; `crashed` hears of a fault.
    """

    __slots__ = ("_beside", "_calls", "_live", "_refuse", "_say")

    def __init__(
        self,
        parts: Parts,
        *,
        request_id: str,
        channels: Collection[str],
        say: Callable[[str, FrameId, Mapping[str, Any]], None],
        refuse: Callable[[Refusal], None],
        crashed: Callable[[BaseException], None],
    ) -> None:
        sources = parts.sources
        self._say = say
        self._refuse = refuse
        self._calls = Calls(
            parts.operations,
            request_id=request_id,
            most=parts.settings.frames.calls,
            say=self._say_result,
            refuse=refuse,
        )
        presence = None if sources.presence is None else sources.presence.rooms
        self._live = LiveFrames(
            sources.live, sources.clock, sources.openings, sources.telemetry, channels, presence, request_id
        )
        self._beside = Beside(STORED_AT_ONCE, crashed)

    def call(self, caller: Caller, command: Call) -> None:
        """Run an operation beside what else the connection does."""
        self._calls.begin(caller, command)

    def of_room(self, caller: Caller, command: OfRoom) -> Coroutine[Any, Any, None] | None:
        """Publish, read a history, or do with presence.

        Returns what is to be awaited before the next frame is taken, None for what is stored.
        """
        work = self._do_live(caller, command)
        is_beside = isinstance(command, Publish) and is_stored(command.channel)
        return self._beside.begin(work) if is_beside else work

    def _say_result(self, call: Call, members: Mapping[str, Any]) -> None:
        self._say("result", call.id, members)

    def close(self) -> None:
        """End what is under way."""
        self._calls.close()
        self._beside.close()

    async def _do_live(self, caller: Caller, command: OfRoom) -> None:
        try:
            kind, members = await self._live.do(caller, command)
        except HubError as refused:
            self._refuse(Refusal(command.id, refused))
        else:
            self._say(kind, command.id, members)
