"""How a client connects, comes back and stops: the half of the machine that knows of links and credentials, and of no frames.

`machine.Machine` is the other half.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from aimatrix.live import rules
from aimatrix.live.channels import Channels
from aimatrix.live.credential import CredentialDesk
from aimatrix.live.events import Frame
from aimatrix.live.places import Place
from aimatrix.live.requests import Requests
from aimatrix.live.signals import Changed, Connect, Drop, Failed, Key, NeedCredential, Output, Send, State, Transport
from aimatrix.live.ways import Ways

CONNECTED = (State.JOINING, State.LIVE)


class Lifeline:
    """The attempts, links and credentials of one client."""

    def __init__(self, draw: Callable[[], float], *, has_fallback: bool = False) -> None:
        self.state = State.STOPPED
        self._draw = draw
        self._now = 0.0
        self._out: list[Output] = []
        self._id = 0
        self._channels = Channels()
        self._requests = Requests()
        self._credential = CredentialDesk()
        self._ways = Ways(has_fallback=has_fallback)
        self._authenticate = 0
        self._renew_at = math.inf
        # Of the attempt, and of the connection.
        self._failures = 0
        self._attempt_at = -math.inf
        self._is_linking = False
        self._deadline = math.inf
        self._live_since = math.inf
        self._farewell: Frame = {}
        self._heard = 0.0
        self._interval: float = rules.PING_MS
        self._pong_until = math.inf
        # Of the pause before the next one.
        self._until = math.inf
        self._not_before = -math.inf
        self._rejoin_at = math.inf
        self._rejoins = 0

    def outputs(self) -> list[Output]:
        """Return what is to be done since the last call."""
        done, self._out = self._out, []
        return done

    def place(self, channel: str) -> Place | None:
        """Return the place in a channel after which its events are still to come."""
        return self._channels.place(channel)

    # Opening and closing.

    def open(self, now: float) -> None:
        """Connect, and come back from now on."""
        self._pass(now)
        if self.state is State.STOPPED:
            self._failures = 0
            self._not_before = -math.inf
            self._ways.begin()
            self._credential.begin()
            self._connect()
        elif self.state is State.WAITING:
            self._connect()

    def close(self, now: float) -> None:
        """End for good; requests fail, channels are forgotten."""
        self._pass(now)
        if self.state is not State.STOPPED:
            self._stop("closed", is_of_credential=False)
        self._fail(self._requests.clear(), "CLOSED", "The client was closed")
        self._channels.clear()

    def opened(self, now: float) -> None:
        """Hear that the link is open."""
        self._pass(now)
        if self.state is not State.CONNECTING:
            return
        self._ways.opened(now)
        self._authenticate = self._next_id()
        self._send({"id": self._authenticate, "type": "authenticate", "token": self._credential.token})

    def closed(
        self,
        now: float,
        code: int,
        reason: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Hear that the link has ended, or could not be opened; with the `status` and Retry-After (ms) of an answer."""
        self._pass(now)
        if self.state is not State.CONNECTING and self.state not in CONNECTED:
            return
        farewell = self._farewell
        why = reason or str(farewell.get("reason") or "connection lost")
        if code == rules.RENEW_FIRST:
            self._credential.need = "expired"
        # It says who it is at once: where the hub did not hear that in time, the network was late.
        is_late = code == rules.NOT_AUTHENTICATED and self.state is State.CONNECTING
        if status == 401 and self.state in CONNECTED:
            # It was good when the connection began: the next one begins with another.
            self._credential.need = "refused"
        if status == 401 and self._ways.is_last and self.state is State.CONNECTING:
            self._refused_credential(why, is_gone=True)
        elif status == 403 and self._ways.is_last:
            self._stop(why, is_gone=True, is_of_credential=False, status=status)
        elif is_late or (rules.comes_back(code) and farewell.get("reconnect") is not False):
            is_busy = status in (429, 503)
            self._lost(why, is_gone=True, is_busy=is_busy, slot=farewell.get("after_ms"), retry_after=retry_after)
        else:
            self._stop(why, is_gone=True, is_of_credential=rules.is_of_credential(code), code=code)

    def _connect(self) -> None:
        self._attempt_at = self._now
        self._is_linking, self._deadline = False, math.inf
        self._enter(State.CONNECTING)
        if self._credential.need is not None:
            self._ask_credential(self._credential.need)
        else:
            self._link()

    def _link(self) -> None:
        self._id = 0
        self._is_linking, self._deadline = True, self._now + rules.CONNECT_MS
        self._tell(Connect(self._ways.next()))

    @property
    def _has_link(self) -> bool:
        """Whether one is open, or opening: before that the credential is asked for."""
        return self._is_linking if self.state is State.CONNECTING else self.state in CONNECTED

    def _abandon(self, *, is_gone: bool) -> None:
        """Forget the connection, and what was under way on it."""
        if not is_gone and self._has_link:
            self._tell(Drop())
        self._channels.reset()
        self._farewell = {}
        self._is_linking = False
        self._live_since = self._deadline = self._pong_until = self._rejoin_at = self._renew_at = math.inf
        self._ways.ended()
        self._rejoins = 0
        self._fail(self._requests.lost(), "CONNECTION_LOST", "The connection was lost before the answer")

    def _stop(
        self,
        why: str,
        *,
        is_gone: bool = False,
        is_of_credential: bool,
        code: int | None = None,
        status: int | None = None,
    ) -> None:
        self._abandon(is_gone=is_gone)
        self._credential.forget_ask()
        self._enter(State.STOPPED, why=why, is_of_credential=is_of_credential, code=code, status=status)

    def _lost(
        self,
        why: str,
        *,
        is_gone: bool = False,
        is_busy: bool = False,
        slot: float | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Come back later: after the slot that the hub gave, or after a pause that grows."""
        if self._now - self._live_since >= rules.SETTLED_MS:
            self._failures = 0
        if not is_busy and self._has_link:
            self._ways.failed(was_live=self._live_since < math.inf)
        was_trying = self._ways.tried()
        self._abandon(is_gone=is_gone)
        if was_trying:
            self._connect()
            return
        asked = retry_after if slot is None else slot
        self._not_before = -math.inf if asked is None else self._now + min(asked, rules.LONGEST_SLOT_MS)
        self._until = max(self._not_before, self._now)
        if slot is None:
            self._until += rules.pause(self._failures, self._draw())
        self._failures += 1
        self._enter(State.WAITING, why=why, until=self._until)

    # The credential.

    def credential(self, now: float, ask: int, token: str) -> None:
        """Hear what the program gave as credential."""
        self._pass(now)
        if not self._credential.has_answer(ask):
            return
        is_awaited = self.state is State.CONNECTING and not self._is_linking
        if is_awaited and self._credential.is_refused(token):
            self._stop(self._credential.why_refused, is_gone=True, is_of_credential=True)
            return
        is_other = self._credential.take(token)
        if is_awaited:
            self._link()
        elif self.state in CONNECTED and is_other:
            self._send({"id": self._next_id(), "type": "authenticate", "token": token})

    def no_credential(self, now: float, ask: int, why: str) -> None:
        """Hear that the program could give none, for now."""
        self._pass(now)
        if not self._credential.has_answer(ask):
            return
        if self.state is State.CONNECTING and not self._is_linking:
            self._lost(why)
        elif self.state in CONNECTED:
            self._renew_at = self._now + rules.RENEW_MS

    def _ask_credential(self, why: str) -> None:
        ask = self._credential.ask()
        if ask is not None:
            self._tell(NeedCredential(ask, why))

    def _refused_credential(self, why: str, *, is_gone: bool) -> None:
        if not self._credential.refuse(why):
            self._stop(why, is_gone=is_gone, is_of_credential=True)
            return
        self._abandon(is_gone=is_gone)
        self._ask_credential("refused")

    def _expiring(self) -> None:
        self._credential.need = "expiring"
        self._renew_at = math.inf
        self._ask_credential("expiring")

    # Small things.

    def _pass(self, now: float) -> None:
        self._now = max(now, self._now)

    def _next_id(self) -> int:
        self._id += 1
        return self._id

    def _tell(self, output: Output) -> None:
        self._out.append(output)

    def _send(self, frame: Frame) -> None:
        self._out.append(Send(frame))

    def _enter(self, state: State, **more: Any) -> None:
        self.state = state
        self._tell(Changed(state, **more))

    def _fail(self, keys: Iterable[Key], code: str, message: str) -> None:
        for key in keys:
            self._tell(Failed(key, {"code": code, "message": message}))

    @property
    def transport(self) -> Transport:
        """What the link is made of, or was last."""
        return self._ways.transport
