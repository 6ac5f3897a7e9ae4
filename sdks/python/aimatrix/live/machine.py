"""A client of the stream as a state machine (docs/clients.md): inputs and time in, outputs out.

It opens no socket, sets no timer, reads no clock. Whoever drives it calls the method of what has happened with the time in
milliseconds, does what `outputs` then says, in order, and calls `time` at `wake`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from aimatrix.live import rules
from aimatrix.live.channels import Item, Standing
from aimatrix.live.events import Frame
from aimatrix.live.lifeline import CONNECTED, Lifeline
from aimatrix.live.requests import Request
from aimatrix.live.signals import Answer, Bookmark, Failed, Joined, Key, Left, Other, Refused, State, Warned, Welcomed


class Machine(Lifeline):
    """One client. `draw` gives 0 to 1; `has_fallback` tells whether there is a way in beside the socket."""

    @property
    def wake(self) -> float:
        """When it wants `time` to be called; infinity: not at all."""
        first = self._requests.until
        if self.state is State.WAITING:
            return min(first, self._until)
        if self.state is State.CONNECTING:
            return min(first, self._deadline)
        if self.state in CONNECTED:
            of_the_link = (self._deadline, self._idle_at, self._pong_until, self._rejoin_at, self._renew_at)
            return min(first, self._ways.socket_again_at, *of_the_link)
        return first

    @property
    def _idle_at(self) -> float:
        return self._heard + self._interval if self._pong_until == math.inf else math.inf

    # Time.

    def time(self, now: float) -> None:
        """Hear that it is `now`, which may be long after `wake`: then the machine was asleep."""
        wake = self.wake
        self._pass(now)
        self._fail(self._requests.expired(self._now), "TIMED_OUT", "No answer came in time")
        is_late = self._now - wake >= rules.ASLEEP_MS and self._now < self._pong_until
        if self.state in CONNECTED:
            self._connected_time(is_late=is_late)
        elif is_late:
            self._check()
        elif self.state is State.WAITING:
            if self._now >= self._until:
                self._connect()
        elif self._now >= self._deadline:
            self._lost("no answer")

    def check(self, now: float) -> None:
        """Hear that the machine was asleep, or that the network is another: find out what still holds."""
        self._pass(now)
        self._check()

    def offline(self, now: float) -> None:
        """Hear that the network is said to be gone."""
        self._pass(now)
        self._probe(rules.QUICK_PONG_MS)

    def _connected_time(self, *, is_late: bool) -> None:
        now = self._now
        if now >= self._pong_until:
            self._lost("gone silent")
            return
        if now >= self._ways.socket_again_at and self._try_socket():
            return
        if is_late:
            # What was due in the sleep is done once; whether anybody hears of it, the ping tells.
            self._probe(rules.QUICK_PONG_MS)
            self._deadline = now + rules.JOIN_MS if now >= self._deadline else self._deadline
        elif now >= self._deadline:
            self._lost("no answer")
            return
        if now >= self._idle_at:
            self._probe(rules.PONG_MS)
        if now >= self._renew_at:
            self._expiring()
        if now >= self._rejoin_at:
            self._rejoin_at = math.inf
            self._channels.retry()
            self._join()

    def _try_socket(self) -> bool:
        """Try what was blocked: it may be so no longer. Not while somebody waits for an answer; tell whether it was tried."""
        if self._requests:
            self._ways.socket_again_at = self._now + rules.SPACING_MS
            return False
        self._abandon(is_gone=False)
        self._ways.try_socket()
        self._connect()
        return True

    def _check(self) -> None:
        if self.state is State.WAITING:
            # Now, but not before the hub's slot, nor right after the last attempt.
            self._until = min(self._until, max(self._not_before, self._attempt_at + rules.SPACING_MS))
            if self._now >= self._until:
                self._connect()
        elif self.state is State.CONNECTING and self._is_linking:
            if self._now - self._attempt_at >= rules.SPACING_MS:
                self._abandon(is_gone=False)
                self._connect()
        else:
            self._probe(rules.QUICK_PONG_MS)

    def _probe(self, within: float) -> None:
        if self.state in CONNECTED:
            self._pong_until = self._now + within
            self._send({"id": self._next_id(), "type": "ping"})

    # Frames.

    def frame(self, now: float, frame: Frame) -> None:
        """Hear a frame of the hub."""
        if now > self._now:
            self._now = now
        if self.state is not State.CONNECTING and self.state not in CONNECTED:
            return
        self._heard = self._now
        self._pong_until = math.inf
        if frame["type"] == "event":
            event = self._channels.news(frame)
            if event is not None:
                self._out.append(event)
            return
        request = self._requests.answered(frame.get("id"))
        if request is None:
            self._takers.get(frame["type"], Machine._other)(self, frame)
        elif frame["type"] == "error":
            self._tell(Failed(request.key, frame["error"]))
        else:
            self._tell(Answer(request.key, frame))

    def _welcome(self, frame: Frame) -> None:
        self._tell(Welcomed(frame))
        if self.state is not State.CONNECTING:
            return
        self._credential.accept()
        self._interval = frame.get("ping_interval_ms", rules.PING_MS)
        self._deadline = self._now + rules.JOIN_MS
        self._enter(State.JOINING)
        self._join()
        self._send_requests()
        self._settle()

    def _subscribed(self, frame: Frame) -> None:
        told = [self._channels.answered(frame.get("id"), item) for item in frame["channels"]]
        self._answered([each for each in told if each is not None])

    def _answered(self, told: Iterable[Joined | Refused]) -> None:
        is_refused = is_told = False
        for each in told:
            self._tell(each)
            is_told = True
            is_refused = is_refused or (isinstance(each, Refused) and not each.is_final)
        if is_refused and self._rejoin_at == math.inf:
            self._rejoin_at = self._now + rules.SPACING_MS + rules.pause(self._rejoins, self._draw())
            self._rejoins += 1
        elif not is_refused and not self._channels.has(Standing.LATER):
            self._rejoins = 0
        if is_told and self.state is State.LIVE:
            # Who is answered has the time of an answer again for what is still asked.
            self._deadline = self._now + rules.JOIN_MS
        self._settle()

    def _settle(self) -> None:
        if self.state not in CONNECTED or self._channels.has(Standing.ASKED):
            return
        self._deadline = math.inf
        if self.state is State.JOINING:
            self._live_since = self._now
            self._enter(State.LIVE)

    def _unsubscribed(self, frame: Frame) -> None:
        if "error" not in frame:
            return
        for channel in frame["channels"]:
            if self._channels.lose(channel):
                self._tell(Left(channel, frame["error"]))
        self._settle()

    def _reset(self, frame: Frame) -> None:
        reset = self._channels.moved(frame)
        if reset is not None:
            self._tell(reset)

    def _position(self, frame: Frame) -> None:
        if self._channels.bookmark(frame):
            self._tell(Bookmark())

    def _pong(self, frame: Frame) -> None:
        if "position" in frame:
            self._position(frame["position"])

    def _error(self, frame: Frame) -> None:
        id, error = frame.get("id"), frame["error"]
        if id is not None and id == self._authenticate and self.state is State.CONNECTING:
            if rules.passes(error):
                self._lost(str(error.get("message")))
            else:
                self._refused_credential(str(error.get("message")), is_gone=False)
            return
        refused = [] if id is None else self._channels.refused_all(id, error)
        if refused:
            self._answered(refused)
        else:
            self._tell(Warned(error))

    def _token_expiring(self, frame: Frame) -> None:
        del frame
        self._expiring()

    def _disconnect(self, frame: Frame) -> None:
        self._farewell = frame

    def _ignore(self, frame: Frame) -> None:
        """An answer to what nobody waits for any more."""

    def _other(self, frame: Frame) -> None:
        """Of a newer hub, or of no interest here: the program may know it."""
        if self._channels.is_joined(frame.get("channel")):
            self._tell(Other(frame["channel"], frame))

    _takers: ClassVar[Mapping[str, Callable[[Any, Frame], None]]] = {
        "welcome": _welcome,
        "subscribed": _subscribed,
        "unsubscribed": _unsubscribed,
        "reset": _reset,
        "position": _position,
        "pong": _pong,
        "error": _error,
        "token_expiring": _token_expiring,
        "disconnect": _disconnect,
        "result": _ignore,
    }

    # What the program asks.

    def subscribe(self, now: float, items: Iterable[Item]) -> None:
        """Want channels once more."""
        self._pass(now)
        for item in items:
            self._channels.want(item)
        self._join()

    def unsubscribe(self, now: float, channels: Iterable[str]) -> None:
        """Want channels once less."""
        self._pass(now)
        self._leave([name for name in channels if self._channels.unwant(name)])

    def hold(self, now: float, channel: str) -> None:
        """Want no more of a channel for now: its reader is behind."""
        self._pass(now)
        self._leave([channel] if self._channels.hold(channel) else [])

    def resume(self, now: float, channel: str) -> None:
        """Want a channel again that was held, from where it was."""
        self._pass(now)
        self._channels.resume(channel)
        self._join()

    def request(self, now: float, key: Key, frame: Frame, timeout: float) -> None:
        """Ask the hub something; it is answered or has failed after `timeout` milliseconds."""
        self._pass(now)
        if self._requests.is_full:
            self._fail([key], "BUFFER_FULL", "Too many requests wait for an answer")
            return
        self._requests.add(Request(key, frame, self._now + timeout))
        self._send_requests()

    def abandon(self, key: Key) -> None:
        """Hear that nobody waits for the answer to a request any more."""
        self._requests.abandon(key)

    def _join(self) -> None:
        if self.state in CONNECTED:
            for frame in self._channels.ask(self._next_id):
                self._send(frame)
                if self._deadline == math.inf:
                    self._deadline = self._now + rules.JOIN_MS

    def _leave(self, channels: list[str]) -> None:
        if channels and self.state in CONNECTED:
            self._send({"type": "unsubscribe", "channels": channels})
        self._settle()

    def _send_requests(self) -> None:
        if self.state in CONNECTED:
            for frame in self._requests.unsent(self._next_id):
                self._send(frame)
