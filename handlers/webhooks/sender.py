"""One attempt: a message becomes a signed request, and what came of it an outcome. It never raises but when cancelled."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson

from core.clock import Clock, rfc3339
from core.events.event import data_of
from core.outbound import OutboundError
from core.outbound_pool import OutboundPool
from handlers.webhooks.policy import KEPT_BYTES, TIMEOUT_SECONDS, Sent, pause_of, verdict_of
from handlers.webhooks.secrets import signature


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: `id` is the same with each attempt, and for every webhook that gets this event."""

    id: UUID
    body: str = field(repr=False)
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where it is sent, and what it is signed with: two secrets while they rotate, none where the hub cannot open them."""

    url: str = field(repr=False)
    secrets: Sequence[str] = field(repr=False)


def message_of(id: UUID, type: str, time: datetime, position: int, envelope: str, *, replayed: bool = False) -> Message:
    """Return the message of an event of the log; its data is what stands in the envelope, to the byte."""
    head = orjson.dumps(type).decode()
    tail = orjson.dumps({"id": str(id), "timestamp": rfc3339(time), "position": str(position)}).decode()[1:]
    return Message(id, f'{{"type":{head},"data":{data_of(envelope)},{tail}', replayed)


def trial(id: UUID, webhook: UUID, time: datetime) -> Message:
    """Return a message that says that it is a test; it has no position, since it is not in the log."""
    body = {
        "type": "webhook.test",
        "data": {"webhook_id": str(webhook), "message": "This is a test of your receiver"},
        "id": str(id),
        "timestamp": rfc3339(time),
        "position": None,
    }
    return Message(id, orjson.dumps(body).decode())


class Sender:
    """Sends messages to receivers."""

    def __init__(self, pool: OutboundPool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def send(self, receiver: Receiver, message: Message) -> Sent:
        """Post the message once, and tell what came of it."""
        began = self._clock.monotonic()
        if not receiver.secrets:
            return Sent("failed", None, "The hub's secret has changed: rotate the webhook's secret", 0.0)
        try:
            answer = await self._pool.request(
                "POST",
                receiver.url,
                headers=self._headers(receiver, message),
                body=message.body.encode(),
                timeout=TIMEOUT_SECONDS,
                max_bytes=KEPT_BYTES,
                may_cut=True,
            )
        except OutboundError as error:
            return Sent("failed", None, str(error), self._clock.monotonic() - began)
        seconds = self._clock.monotonic() - began
        pause = pause_of(answer.status, answer.headers, self._clock.now().timestamp())
        return Sent(verdict_of(answer.status), answer.status, answer.body.decode(errors="replace"), seconds, pause)

    def _headers(self, receiver: Receiver, message: Message) -> dict[str, str]:
        at = self._clock.now()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": str(message.id),
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signature(receiver.secrets, str(message.id), at, message.body),
        }
        if message.replayed:
            headers["webhook-replayed"] = "true"
        return headers
