"""One connection for sharded pub/sub: `hiredis.Reader` on an asyncio Protocol.

All messages that one read of the socket brings are handed over in one call, so that whoever fans them out can join writes.

RESP2: replies come in the order of commands, so a PONG proves that all before it was done, and an error is of the oldest command
that has no reply yet. The pushes of RESP3 bring nothing more here, and cost 0.07 us a message in hiredis.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import hiredis

# Channels named in one SSUBSCRIBE.
SUBSCRIBE_BATCH = 500
# A channel is refused like this by a server that does not have it (any more), or not yet.
_ELSEWHERE = ("MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN")

Batch = list[tuple[str, bytes]]


@dataclass(slots=True)
class _Sent:
    """A command without a reply: the channels it subscribes or leaves, or what is to be done when it is answered."""

    joined: set[str] | None = None
    left: str | None = None
    then: Callable[[], None] | None = None


class Link(asyncio.Protocol):
    """One connection: from being made until it is lost, which ends `lost`; `reason` says why.

    `on_confirmed` gets each channel that the server has subscribed us to, `on_gone` those that it does not serve: it was asked and
    refused, or it had them and the cluster gave them to another.
    """

    def __init__(
        self,
        on_batch: Callable[[Batch], None],
        on_confirmed: Callable[[str], None],
        on_gone: Callable[[Sequence[str]], None],
    ) -> None:
        self._on_batch = on_batch
        self._on_confirmed = on_confirmed
        self._on_gone = on_gone
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._unanswered: deque[_Sent] = deque()
        # SSUBSCRIBEs under way, by channel: after an unsubscribe in between, only the last confirmation is of the last one.
        self._awaited: Counter[str] = Counter()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = 0
        self.reason = "closed by Redis"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End `lost`."""
        if exc is not None:
            self.reason = type(exc).__name__
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Note what was answered, and hand the messages over."""
        self.heard += 1
        reader = self._reader
        batch: Batch = []
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                if type(reply) is list and reply[0] == b"smessage":
                    batch.append((reply[1].decode(), reply[2]))
                else:
                    self._answered(reply)
        except hiredis.ProtocolError:
            self.fail("not Redis")
        if batch:
            self._on_batch(batch)

    def log_in(self, words: Sequence[str]) -> None:
        """Send the credential."""
        self._send([("AUTH", *words)], [_Sent()])

    def ping(self, then: Callable[[], None] | None = None) -> None:
        """Have the server say something; `then` is called when it has, and so has done all that was asked before."""
        self._send([("PING",)], [_Sent(then=then)])

    def subscribe(self, groups: Sequence[Sequence[str]]) -> None:
        """Ask for channels, those of a group in one command: in a cluster they have one slot."""
        joined = [
            group[start : start + SUBSCRIBE_BATCH]
            for group in groups
            for start in range(0, len(group), SUBSCRIBE_BATCH)
        ]
        for channels in joined:
            self._awaited.update(channels)
        self._send([("SSUBSCRIBE", *channels) for channels in joined], [_Sent(joined=set(each)) for each in joined])

    def unsubscribe(self, channel: str) -> None:
        """Ask for `channel` no more."""
        self._send([("SUNSUBSCRIBE", channel)], [_Sent(left=channel)])

    def fail(self, reason: str) -> None:
        """Give the connection up."""
        self.reason = reason
        self.abort()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def _send(self, commands: Sequence[tuple[str, ...]], sent: Sequence[_Sent]) -> None:
        """Write commands together; nothing happens on a connection that is closing."""
        if self._transport is None or self._transport.is_closing():
            return
        self._unanswered.extend(sent)
        # hiredis' stub knows tuples of one word only.
        packed = [hiredis.pack_command(words) for words in commands]  # pyright: ignore[reportArgumentType]
        # uvloop raises for a transport whose socket has died but whose loss is not reported yet: it is on its way.
        with contextlib.suppress(RuntimeError):
            self._transport.write(b"".join(packed))

    def _answered(self, reply: Any) -> None:
        """Take a reply that is no message. Before the first SSUBSCRIBE a PONG is a status, after it an array."""
        kind = reply[0] if isinstance(reply, list) else None
        if kind == b"sunsubscribe":
            self._left(reply[1].decode())
        elif not self._unanswered:
            self.fail("not Redis")
        elif kind == b"ssubscribe":
            self._joined(reply[1].decode())
        elif isinstance(reply, hiredis.ReplyError):
            self._refused(self._unanswered.popleft(), str(reply).partition(" ")[0])
        elif (sent := self._unanswered.popleft()).then is not None:
            sent.then()

    def _joined(self, channel: str) -> None:
        joined = self._unanswered[0].joined or set()
        joined.discard(channel)
        if not joined:
            self._unanswered.popleft()
        if self._is_last(channel):
            self._on_confirmed(channel)

    def _left(self, channel: str) -> None:
        if self._unanswered and self._unanswered[0].left == channel:
            self._unanswered.popleft()
        else:
            # Nobody asked: the slot has gone to another server.
            self._on_gone((channel,))

    def _refused(self, sent: _Sent, code: str) -> None:
        if sent.left is not None and code in _ELSEWHERE:
            return
        if sent.joined is None or code not in _ELSEWHERE:
            self.fail(code)
            return
        gone = [channel for channel in sent.joined if self._is_last(channel)]
        self._on_gone(gone)

    def _is_last(self, channel: str) -> bool:
        """Count a reply to SSUBSCRIBE; tell whether it is the last that is awaited of the channel."""
        self._awaited[channel] -= 1
        if self._awaited[channel] > 0:
            return False
        del self._awaited[channel]
        return True
