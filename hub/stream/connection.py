"""One socket: who it speaks for, what it asks, what it is told, and how it ends.

    welcome --> frames in, frames out --> end(code): rooms left, close frame written --> the client closes, or abort after 5 s

Nothing here waits for a client to read. No timer for each socket: `tick` is called when the connection is due on the node's
wheel, sees what time has brought, and says when to look again.
"""

from collections.abc import Coroutine, Mapping
from typing import Any
from uuid import UUID

import structlog

from core.auth.caller import Caller
from core.auth.seats import Seat
from core.clock import rfc3339
from core.errors import HubError
from core.pressure import Part
from hub.stream.codes import (
    AUTHENTICATION_TIMEOUT,
    CREDENTIAL_EXPIRED,
    CREDENTIAL_REVOKED,
    INTERNAL,
    RESTART,
    SLOW_READER,
    TOO_MANY_CONNECTIONS,
    CloseCode,
    comes_back,
)
from hub.stream.commands import (
    Asked,
    Authenticate,
    Call,
    Command,
    OfRoom,
    Ping,
    Refusal,
    Settle,
    Subscribe,
    Unsubscribe,
    Violation,
)
from hub.stream.doing import Doing
from hub.stream.frames import FrameId
from hub.stream.heartbeat import Heartbeat, Pulse
from hub.stream.outbound import Outbound
from hub.stream.parts import Parts, Watcher
from hub.stream.protocol import Protocol
from hub.stream.shedding import error_object, judged
from hub.stream.standing import Standing
from hub.stream.subscription import Subscription
from hub.stream.subscriptions import Subscriptions
from hub.stream.waiting import Account
from hub.stream.wheel import NEVER
from hub.stream.wires import Wire

# A position that is due so soon goes with a ping, in one write.
POSITION_EARLY_SECONDS = 10.0


# Stand for the client's own end: never sent. What still runs for the connection finds that it has ended.
_LOST, _LEFT = CloseCode(1006, "", "", ""), CloseCode(1000, "", "", "")


class Connection:
    """The hub's end of one socket. Whoever made it calls `closed` when the socket is gone.

    `seat` is what the handshake has taken for it; one that authenticates by frame takes it then.
    """

    __slots__ = (
        "_account",
        "_deadline",
        "_doing",
        "_parts",
        "_position_at",
        "_protocol",
        "_standing",
        "_subscriptions",
        "due",
        "ending",
        "heartbeat",
        "id",
        "outbound",
        "since",
        "watcher",
        "wire",
    )

    def __init__(
        self, connection_id: str, outbound: Outbound, wire: Wire, parts: Parts, seat: Seat | None = None
    ) -> None:
        clock, settings = parts.sources.clock, parts.settings
        now = clock.monotonic()
        self.id = connection_id
        self.outbound = outbound
        self.wire = wire
        self.ending: CloseCode | None = None
        self.since = clock.now()
        self.watcher: Watcher | None = None
        self.heartbeat = Heartbeat(parts.rhythm, now, answers=wire.answers)
        self.due = NEVER
        self._parts = parts
        self._standing = Standing(parts, seat)
        self._subscriptions = Subscriptions(self, parts.sources)
        self._protocol = Protocol(self._subscriptions.by_channel.keys(), settings.frames, wire)
        self._account: Account | None = None
        self._doing: Doing | None = None  # most connections need none
        # Until when it must have authenticated, or, once it ends, must have closed.
        self._deadline = now + settings.authenticate_within
        self._position_at = now + settings.position_every
        self._look_again(now)

    @property
    def caller(self) -> Caller | None:
        """Who it speaks for; None until a credential was good."""
        return self._standing.caller

    @property
    def now(self) -> float:
        """The present on the node's clock, in monotonic seconds."""
        return self._parts.sources.clock.monotonic()

    @property
    def org_id(self) -> UUID | None:
        """The organisation that it speaks for, None before it is authenticated."""
        return None if self.caller is None else self.caller.org_id

    @property
    def channels(self) -> Mapping[str, Subscription]:
        """The channels that it has subscribed to."""
        return self._subscriptions.by_channel

    @property
    def is_up_to_date(self) -> bool:
        """Whether every channel that it has subscribed to has caught up."""
        return all(each.is_live for each in self._subscriptions.by_channel.values())

    def watch(self, watcher: Watcher | None) -> None:
        """Show `watcher` every frame from now on, instead of another."""
        self.watcher = watcher
        self.outbound.tap(None if watcher is None else watcher.sent)

    def welcome(self, caller: Caller, frame_id: FrameId = None, *, after: bytes = b"") -> None:
        """Take `caller` for the connection, or its renewed credential, and say so, `after` other bytes in the same write."""
        self._protocol.admit = self._standing.admit
        settings = self._parts.settings
        self._standing.take(caller)
        if self._account is None:
            self._account = self._parts.waiting.of(caller.org_id)
            self.outbound.count_in(self._account)
            if self.outbound.is_waiting:
                self.stalls()
        self._say(
            after
            + self.wire.reply(
                "welcome",
                frame_id,
                connection=self.id,
                subject=caller.subject,
                org_id=str(caller.org_id),
                expires_at=None if caller.expires_at is None else rfc3339(caller.expires_at),
                ping_interval_ms=round(settings.ping * 1000),
                max_frame_bytes=settings.frames.frame_bytes,
                max_channels=settings.frames.channels,
            )
        )
        if self.ending is None:
            self._subscriptions.enter_own_room(caller)
            self._look_again(self.now)

    def receive(self, message: str | bytes, wait: float = 0.0) -> Coroutine[Any, Any, None] | None:
        """Do what a message asks that came `wait` seconds too early; return what is to be awaited before the next one is taken."""
        counts = self._parts.sources.counts
        counts.frames_in += 1
        counts.bytes_in += len(message)
        if self.watcher is not None:
            self.watcher.received(message)
        if self.ending is not None:
            return None
        return self._do(judged(self._protocol.receive(message), wait, self._parts.pressure, self.channels))

    def end(self, code: CloseCode) -> None:
        """Leave every room, then say `code`; what waited for the client to read is dropped. The first code counts."""
        if self.ending is not None:
            return
        self.ending = code
        self._parts.sources.counts.closed[code.code] += 1
        self._deadline = self.now + self._parts.settings.close_within
        self._leave()
        self._look_again(self.now)
        self.outbound.shut(self.wire.farewell(code))
        if not self._parts.pressure.gives_up(Part.DEBUG):
            structlog.get_logger().info("stream_closed", connection=self.id, code=code.code, reason=code.reason)

    def cut_slow(self) -> None:
        """End because the client reads too slowly."""
        self.end(SLOW_READER)

    def crashed(self, error: BaseException) -> None:
        """End because of a fault of the hub."""
        structlog.get_logger().error("stream_crashed", connection=self.id, exc_info=error)
        self.end(INTERNAL)

    def announce_restart(self, after_ms: int, code: CloseCode = RESTART) -> None:
        """Tell the client when to come back, and end."""
        if self.ending is None:
            self._say(self.wire.disconnect(code, after_ms))
            self.end(code)

    def on_room_reset(self, channel: str, epoch: str, offset: int, reason: str) -> None:
        """Go on from `offset` of a live room, which the client was told; what it tells of is told anew."""
        self._subscriptions.on_room_reset(channel, epoch, offset)

    def on_new_epoch(self, epoch: str, position: int, reason: str) -> None:
        """Go on from `position` of a log with a new epoch."""
        self._subscriptions.on_new_epoch(epoch, position, reason)

    def stalls(self) -> None:
        """Hear that the client does not take what is there for it: it is looked at when that has gone on for too long."""
        self._parts.wheel.set_earlier(self, self.now + self._parts.settings.waiting_age)
        if self._account is not None and self.ending is None:
            self._account.members[self] = None

    def flows(self) -> None:
        """Hear that it takes something again."""
        if self._account is not None:
            self._account.members.pop(self, None)

    @property
    def held_bytes(self) -> int:
        """What waits for the client, as its organisation's account has it."""
        return self.outbound.held_bytes

    def tick(self) -> None:
        """See what time has brought: deadlines, the credential's end, a client that is silent or does not read, the bookmark."""
        now = self.now
        if self.ending is not None:
            if now >= self._deadline:
                self.outbound.abort()
        elif self.caller is None and now >= self._deadline:
            self.end(AUTHENTICATION_TIMEOUT)
        elif self.outbound.is_stuck():
            self.cut_slow()
        else:
            self._look_at_expiry()
            self._beat(now)
        if not self.outbound.is_gone:
            self._look_again(now)

    def on_checked(self, answer: Caller | HubError) -> None:
        """Take what was asked about the credential anew: end where it holds no more, leave the channels that it lost."""
        if self.ending is not None:
            return
        if isinstance(answer, HubError):
            self.end(CREDENTIAL_REVOKED)
        elif answer != self.caller:
            self._standing.take(answer)
            self._look_again(self.now)
            self._subscriptions.leave_lost(self._standing.admit)

    def readmit(self) -> None:
        """Leave the channels that the caller may not have any more: what goes for them has changed."""
        if self.ending is None:
            self._subscriptions.leave_lost(self._standing.admit)

    def closed(self, goodbye: int | None = None) -> None:
        """Give everything back: the socket is gone; `goodbye` is the code by which the client closed it, if it did."""
        if self.ending is None:
            self.ending = _LOST if goodbye is None or comes_back(goodbye) else _LEFT
            self._parts.sources.counts.closed[0] += 1
        self._leave()
        self.outbound.abort()
        self._parts.wheel.drop(self)

    def error_object(self, refused: HubError) -> Mapping[str, Any]:
        """Return what stands under `error` in a frame."""
        return error_object(refused, self.id, self._parts.sources.clock.now())

    def _do(self, command: Command) -> Coroutine[Any, Any, None] | None:
        match command:
            case Subscribe() | OfRoom() | Call() | Settle():
                if self.caller is not None:  # the protocol takes none of them before
                    return self._do_for(self.caller, command)
            case Unsubscribe(id=frame_id, channels=channels):
                self._subscriptions.unsubscribe(channels)
                self._say(self.wire.reply("unsubscribed", frame_id, channels=channels))
            case Authenticate():
                return self._authenticate(command)
            case Ping(id=frame_id):
                self._pong(frame_id)
            case Refusal():
                self._refuse(command)
            case Violation(code=code, refusal=refusal):
                if refusal is not None:
                    self._refuse(refusal)
                self.end(code)
        return None

    def _do_for(self, caller: Caller, command: Asked) -> Coroutine[Any, Any, None] | None:
        match command:
            case Subscribe():
                self._subscriptions.subscribe(caller.org_id, command)
            case Call():
                self._does.call(caller, command)
            case OfRoom():
                return self._does.of_room(caller, command)
            case Settle():
                return self._subscriptions.settle(caller.org_id, command)
        return None

    @property
    def _does(self) -> Doing:
        if self._doing is None:
            self._doing = Doing(
                self._parts,
                request_id=self.id,
                channels=self.channels,
                say=self._say_answer,
                refuse=self._refuse,
                crashed=self.crashed,
            )
        return self._doing

    async def _authenticate(self, command: Authenticate) -> None:
        try:
            caller = await self._standing.caller_of(command.token)
        except HubError as refused:
            refusal = Refusal(command.id, refused)
            # A hub that cannot know is no fault of the credential.
            is_its_fault = refused.status in (401, 403)
            self._do(self._protocol.refused_credential(refusal) if is_its_fault else refusal)
            return
        try:
            await self._standing.take_seat(caller)
        except HubError as refused:
            self._refuse(Refusal(command.id, refused))
            self.end(TOO_MANY_CONNECTIONS)
        if self.ending is None:
            self.welcome(caller, command.id)
            self._subscriptions.leave_lost(self._standing.admit)

    def _leave(self) -> None:
        self.flows()
        self._subscriptions.close(may_return=self.ending is not None and self.ending.reconnect)
        if self._doing is not None:
            self._doing.close()
        self._standing.leave()

    def _look_at_expiry(self) -> None:
        if self._standing.is_over():
            self.end(CREDENTIAL_EXPIRED)
        elif (expiring := self._standing.announcement()) is not None:
            self._say(self.wire.token_expiring(rfc3339(expiring.at), expiring.in_ms))

    def _beat(self, now: float) -> None:
        """Ping a client that is silent, give up one that is gone, and tell the position from time to time."""
        if self.ending is not None:
            return
        pulse = self.heartbeat.look(now, self.outbound.unread_bytes if now >= self.heartbeat.next else 0)
        is_ping = pulse is Pulse.PING
        if pulse is Pulse.DEAD:
            self._parts.sources.counts.silent += 1
            self.outbound.abort()
            return
        if now >= self._position_at - (POSITION_EARLY_SECONDS if is_ping else 0.0):
            self._position_at = now + self._parts.settings.position_every
            bookmark = self._subscriptions.bookmark()
            if bookmark is not None:
                self._say(self.wire.position(*bookmark) + (self.wire.ping if is_ping else b""))
                return
        if is_ping:
            self.outbound.write_control(self.wire.ping)

    def _look_again(self, now: float) -> None:
        """Say when the connection is due: at whatever comes first."""
        if self.ending is not None or self.caller is None:
            moment = self._deadline
        else:
            moment = min(self.heartbeat.next, self._position_at, now + self._standing.next_in())
        if self.outbound.is_waiting:
            moment = min(moment, now + self._parts.settings.waiting_age)
        self._parts.wheel.set(self, moment)

    def _pong(self, frame_id: FrameId) -> None:
        bookmark = self._subscriptions.bookmark()
        place = {} if bookmark is None else {"position": {"offset": str(bookmark[0]), "epoch": bookmark[1]}}
        self._say(self.wire.reply("pong", frame_id, **place))

    def _say_answer(self, kind: str, frame_id: FrameId, members: Mapping[str, Any]) -> None:
        self._say(self.wire.reply(kind, frame_id, **members))

    def _refuse(self, refusal: Refusal) -> None:
        self._parts.sources.counts.refused += 1
        self._say(self.wire.error(refusal.id, self.error_object(refusal.error)))

    def _say(self, frame: bytes) -> None:
        self._parts.sources.fanout.say(self, frame)
