"""One attempt over real sockets: signed so that the published package is content, bounded, and told of truly."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from aiohttp import web
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from core.clock import SystemClock
from core.events.event import new_event
from core.ids import new_id
from core.outbound import Outbound
from core.outbound_pool import OutboundPool
from core.seal import Seal
from core.settings import Network
from handlers.webhooks.policy import KEPT_BYTES, TIMEOUT_SECONDS, pause_of, verdict_of
from handlers.webhooks.secrets import make_secret, purpose_of
from handlers.webhooks.sender import Message, Receiver, Sender, message_of, trial
from tests.handlers.webhooks.receiver import receiving
from tests.harness.clock import ManualClock
from tests.harness.outside import LOOPBACK
from tests.harness.waiting import eventually


@pytest.fixture
async def pool() -> AsyncIterator[OutboundPool]:
    """Connections to loopback, on the machine's clock: receivers compare times with their own."""
    made = OutboundPool(Outbound(LOOPBACK, SystemClock()))
    yield made
    await made.close()


@pytest.fixture
def sender(pool: OutboundPool) -> Sender:
    """A sender by these."""
    return Sender(pool, SystemClock())


def _message(data: str = '{"id":"1"}') -> Message:
    event = new_event(
        event_id=new_id(), type="agent.updated", subject="agents/1", time=datetime.now(UTC), data=data, short=None
    )
    return message_of(event.id, event.type, event.time, 42, event.envelope)


async def test_delivery_is_verified_by_the_published_package(sender: Sender):
    """Headers and body are those of Standard Webhooks; the body has the five fields that the contract names, and no other."""
    secret = make_secret()
    message = _message()
    async with receiving(secret=secret) as receiver:
        sent = await sender.send(Receiver(receiver.url, [secret]), message)
    assert (sent.verdict, sent.status, sent.answer) == ("delivered", 200, "OK")
    (body,), (headers,) = receiver.bodies, receiver.headers
    assert list(body) == ["type", "data", "id", "timestamp", "position"]
    assert (body["type"], body["data"], body["id"], body["position"]) == (
        "agent.updated",
        {"id": "1"},
        str(message.id),
        "42",
    )
    assert headers["webhook-id"] == str(message.id)
    assert headers["content-type"] == "application/json"
    assert "webhook-replayed" not in headers


async def test_both_secrets_of_a_rotation_verify(sender: Sender):
    """A receiver that knows either of them is content; one that knows neither is not."""
    old, new = make_secret(), make_secret()
    async with receiving() as receiver:
        await sender.send(Receiver(receiver.url, [new, old]), _message())
    text, headers = orjson.dumps(receiver.bodies[0]).decode(), receiver.headers[0]
    for each in (old, new):
        Webhook(each).verify(text, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret()).verify(text, headers)


async def test_data_is_sent_as_it_was_written(sender: Sender):
    """To the byte: numbers keep their digits, and what looks like a part of the envelope stays in its string."""
    data = '{"n":1.0000000000000000001,"text":"a,\\"data\\":{","more":{"data":[1,"data"]}}'
    assert f'"data":{data},"id"' in _message(data).body


async def test_what_was_replayed_says_so(sender: Sender):
    """In a header: the body is that of the first time, and so is the id."""
    message = Message(new_id(), "{}", replayed=True)
    async with receiving() as receiver:
        await sender.send(Receiver(receiver.url, [make_secret()]), message)
    assert receiver.headers[0]["webhook-replayed"] == "true"


async def test_message_over_what_travels_is_sent_whole(sender: Sender):
    """Webhooks get what the log has."""
    secret = make_secret()
    async with receiving(secret=secret) as receiver:
        await sender.send(Receiver(receiver.url, [secret]), _message(orjson.dumps({"text": "x" * 500_000}).decode()))
    assert len(receiver.bodies[0]["data"]["text"]) == 500_000


async def test_redirect_is_a_failure_and_is_not_followed(sender: Sender):
    """Where it leads has not been judged: 127.0.0.1, say."""

    async def elsewhere(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/admin"})

    async with receiving(elsewhere) as receiver:
        sent = await sender.send(Receiver(receiver.url, [make_secret()]), _message())
    assert (sent.verdict, sent.status, len(receiver.bodies)) == ("failed", 302, 1)


async def test_ten_megabytes_of_an_answer_are_not_read(sender: Sender):
    """The first 4 KiB are kept; the status is what counts."""

    async def large(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(160):
            await answer.write(b"y" * 65536)
        return answer

    async with receiving(large) as receiver:
        sent = await sender.send(Receiver(receiver.url, [make_secret()]), _message())
    assert (sent.verdict, sent.status, sent.answer) == ("delivered", 200, "y" * KEPT_BYTES)


@pytest.mark.parametrize("says_something", [False, True])
async def test_receiver_that_hangs_or_trickles_fails_when_its_time_is_up(says_something: bool):
    """Fifteen seconds for all of it, from the look-up to the last byte."""
    clock, asked, gone = ManualClock(datetime.now(UTC)), asyncio.Event(), asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if says_something:
            await answer.prepare(request)
            await answer.write(b"a")
        asked.set()
        await gone.wait()
        return answer

    pool = OutboundPool(Outbound(LOOPBACK, clock))
    async with receiving(hang) as receiver:
        sending = asyncio.create_task(Sender(pool, clock).send(Receiver(receiver.url, [make_secret()]), _message()))
        await asked.wait()
        await clock.advance(TIMEOUT_SECONDS - 0.1)
        assert not sending.done()
        await clock.advance(0.1)
        sent = await sending
        gone.set()
        await pool.close()
    assert (sent.verdict, sent.status, sent.seconds) == ("failed", None, pytest.approx(TIMEOUT_SECONDS))
    assert "no answer within 15 s" in sent.answer


async def test_address_that_became_forbidden_is_not_called():
    """What was public when the webhook was made is judged at each delivery; the refusal is told of."""
    outside: Sequence[Network] = (ipaddress.ip_network("192.0.2.0/24"),)
    pool = OutboundPool(Outbound(outside, SystemClock()))
    async with receiving() as receiver:
        sent = await Sender(pool, SystemClock()).send(Receiver(receiver.url, [make_secret()]), _message())
        await pool.close()
    assert (sent.verdict, sent.status, receiver.bodies) == ("failed", None, [])
    assert "is not a public address" in sent.answer


async def test_webhook_whose_secret_cannot_be_opened_is_not_sent_unsigned(sender: Sender):
    """HUB_SECRET was changed: nothing goes out, and the log says what to do."""
    async with receiving() as receiver:
        sent = await sender.send(Receiver(receiver.url, []), _message())
    assert (sent.verdict, receiver.bodies) == ("failed", [])
    assert "rotate" in sent.answer


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, "delivered"), (204, "delivered"), (299, "delivered"), (301, "failed"), (404, "failed"), (410, "gone"), (500, "failed")],
)  # fmt: skip
def test_status_says_what_becomes_of_a_message(status: int, verdict: str):
    """2xx acknowledges, 410 ends it, all else is tried again."""
    assert verdict_of(status) == verdict


def test_pause_is_read_in_both_forms_and_bounded():
    """Retry-After has seconds or a date; what is neither is none, and no receiver stops its webhook for days."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    seconds = now.timestamp()
    assert pause_of(503, {"Retry-After": "120"}, seconds) == 120
    assert pause_of(429, {"Retry-After": "Thu, 01 Jan 2026 00:01:00 GMT"}, seconds) == 60
    assert pause_of(429, {"Retry-After": "Wed, 31 Dec 2025 00:01:00 GMT"}, seconds) == 0
    assert pause_of(503, {"Retry-After": "99999999"}, seconds) == 3600
    for nothing in ("soon", "-1", "1e9", ""):
        assert pause_of(503, {"Retry-After": nothing}, seconds) is None
    assert pause_of(500, {"Retry-After": "120"}, seconds) is None
    assert pause_of(503, {}, seconds) is None


def test_secret_is_kept_sealed_for_its_webhook_alone():
    """Neither another webhook's seal nor another installation's secret opens it."""
    seal, org, webhook = Seal("i" * 32), new_id(), new_id()
    secret, purpose = make_secret(), purpose_of(org, webhook)
    kept = seal.seal(purpose, secret)
    assert secret not in kept
    assert seal.open(purpose, kept) == secret
    assert seal.open(purpose_of(org, new_id()), kept) is None
    assert Seal("j" * 32).open(purpose, kept) is None
    assert kept != seal.seal(purpose, secret)


async def test_trial_says_that_it_is_one(sender: Sender):
    """Signed as any other; its position is null, since the log does not have it."""
    secret, webhook = make_secret(), new_id()
    async with receiving(secret=secret) as receiver:
        await sender.send(Receiver(receiver.url, [secret]), trial(new_id(), webhook, datetime.now(UTC)))
        await eventually(lambda: receiver.bodies)
    assert receiver.bodies[0]["type"] == "webhook.test"
    assert receiver.bodies[0]["data"]["webhook_id"] == str(webhook)
    assert receiver.bodies[0]["position"] is None
    assert timedelta() < datetime.now(UTC) - datetime.fromisoformat(receiver.bodies[0]["timestamp"])
