"""The nodes of this hub: which live, and what they ask each other.

A node renews its lease in Redis every two seconds. A question goes to all nodes by pub/sub, each answers the one that asked; so
nothing is kept in Redis about what nodes hold, and a storm of new sockets costs Redis nothing. Nothing here is retried: who asks
is told whether all have answered.

    nodes            {"v": 1, "ask": kind, "id": 7, "from": node, "body": {...}}
    nodes:<node>     {"v": 1, "answer": 7, "from": node, "body": {...}}, or {"v": 1, "tell": kind, "from": node, "body": {...}}
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog
from redis.exceptions import RedisError

from core.clock import Clock
from core.deadline import ended_within, within
from core.store.redis import Redis, Script
from rooms.switch import Switch
from rooms.tasks import Tasks

KEY = "nodes"
LEASE_SECONDS = 6.0
BEAT_SECONDS = 2.0
ANSWER_SECONDS = 1.5
# Answers that one node sends at once; beyond them a question stays without an answer, which its asker sees.
MOST_ANSWERS = 64
WIRE = 1
_AWAY = (RedisError, OSError, TimeoutError)

Body = Mapping[str, Any]
# Answers a question from what the node has in memory; None: it has nothing to say.
Answer = Callable[[Body], Body | None]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the nodes answered, by node; `is_whole` says that no living node is missing."""

    bodies: Mapping[str, Body]
    is_whole: bool


@dataclass(eq=False, slots=True)
class _Question:
    """A question under way; `enough` tells that no further answer is needed."""

    changed: asyncio.Event
    bodies: dict[str, Body | None] = field(default_factory=dict[str, Body | None])


class Nodes:
    """The node called `node`, among the others. `run` must run; `close` says that it leaves."""

    def __init__(self, redis: Redis, switch: Switch, clock: Clock, *, node: str) -> None:
        self.node = node
        self.living: frozenset[str] = frozenset((node,))
        self._redis = redis
        self._switch = switch
        self._clock = clock
        self._script = Script(Path(__file__).with_name("nodes.lua"))
        self._answers: dict[str, Answer] = {}
        self._listeners: dict[str, Callable[[Body], None]] = {}
        self._questions: dict[int, _Question] = {}
        self._numbers = itertools.count(1)
        self._sending = 0
        self._is_leaving = False
        self._tasks = Tasks()
        self._log = structlog.get_logger()

    def answer(self, kind: str, answer: Answer) -> None:
        """Answer questions of `kind`, the own ones too, by calling `answer`: at once, from memory."""
        self._answers[kind] = answer

    def listen(self, kind: str, listener: Callable[[Body], None]) -> None:
        """Call `listener` with what nodes tell this one."""
        self._listeners[kind] = listener

    async def run(self) -> None:
        """Be there for the others until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._subscribe())
            group.create_task(self._beat_on())

    async def close(self) -> None:
        """Leave; where Redis does not hear it, the lease runs out."""
        self._is_leaving = True  # what still runs must not come back
        await self._tasks.close()
        for channel in (KEY, _inbox(self.node)):
            self._switch.unsubscribe(channel)
        await self._beat(0.0)

    async def ask(self, kind: str, body: Body, *, one: bool = False) -> Answers:
        """Ask all nodes; `one`: the first that has something to say is enough. Never raises: who is silent is missing.

        Takes at most a second and a half beyond what Redis takes.
        """
        own = self._answer_of(kind, body)
        if one and own is not None:
            return Answers({self.node: own}, is_whole=True)
        question, number = _Question(asyncio.Event()), next(self._numbers)
        self._questions[number] = question
        try:
            is_known, expected = await self._put(kind, number, body)
            await self._collect(question, expected, one=one)
        finally:
            del self._questions[number]
        bodies = {node: answer for node, answer in {**question.bodies, self.node: own}.items() if answer is not None}
        is_whole = is_known and self.living <= {self.node, *question.bodies}
        return Answers(bodies, is_whole)

    async def tell(self, node: str, kind: str, body: Body) -> bool:
        """Tell one node, this one too; return whether a node of this name was there to hear it."""
        if node == self.node:
            self._hear(kind, body)
            return True
        message = {"v": WIRE, "tell": kind, "from": self.node, "body": body}
        try:
            return bool(await self._redis.spublish(_inbox(node), orjson.dumps(message)))
        except _AWAY:
            return False

    def receive(self, payloads: Sequence[bytes]) -> None:
        """Take what other nodes sent; what cannot be read is of another release, and not for us."""
        for payload in payloads:
            try:
                self._take(orjson.loads(payload))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self._log.warning("node_message_not_understood", error=type(error).__name__)

    def _take(self, message: Mapping[str, Any]) -> None:
        sender = message["from"]
        if message["v"] != WIRE or sender == self.node:
            return
        if "ask" in message:
            body = self._answer_of(message["ask"], message["body"])
            if self._sending < MOST_ANSWERS:
                self._sending += 1
                self._tasks.spawn(self._send(sender, message["id"], body))
        elif "answer" in message:
            question = self._questions.get(message["answer"])
            if question is not None:
                question.bodies[sender] = message["body"]
                question.changed.set()
        else:
            self._hear(message["tell"], message["body"])

    def _answer_of(self, kind: str, body: Body) -> Body | None:
        answer = self._answers.get(kind)
        return None if answer is None else answer(body)

    def _hear(self, kind: str, body: Body) -> None:
        listener = self._listeners.get(kind)
        if listener is not None:
            listener(body)

    async def _send(self, node: str, number: int, body: Body | None) -> None:
        message = {"v": WIRE, "answer": number, "from": self.node, "body": body}
        try:
            await self._redis.spublish(_inbox(node), orjson.dumps(message))
        except _AWAY as error:
            self._log.warning("node_answer_not_sent", error=type(error).__name__)
        finally:
            self._sending -= 1

    async def _put(self, kind: str, number: int, body: Body) -> tuple[bool, int]:
        """Send a question; return whether it is known who lives, and how many others hear it."""
        message = {"v": WIRE, "ask": kind, "id": number, "from": self.node, "body": body}
        is_known = await self._beat(LEASE_SECONDS)
        if not is_known or not self._switch.connected:
            return False, 0
        try:
            heard = await within(self._clock, ANSWER_SECONDS, self._redis.spublish(KEY, orjson.dumps(message)))
        except _AWAY:
            return False, 0
        return True, int(heard) - 1

    async def _collect(self, question: _Question, expected: int, *, one: bool) -> None:
        until = self._clock.monotonic() + ANSWER_SECONDS
        while len(question.bodies) < expected and (left := until - self._clock.monotonic()) > 0:
            if one and any(body is not None for body in question.bodies.values()):
                return
            question.changed.clear()
            changing = asyncio.ensure_future(question.changed.wait())
            try:
                await ended_within(self._clock, left, changing)
            finally:
                changing.cancel()

    async def _subscribe(self) -> None:
        try:
            for channel in (KEY, _inbox(self.node)):
                await self._switch.subscribe(channel, self)
        except ConnectionError:
            if not self._is_leaving:
                raise
        await self._tasks.crash

    async def _beat_on(self) -> None:
        while not self._is_leaving:
            await self._beat(LEASE_SECONDS)
            await self._clock.sleep(BEAT_SECONDS)

    async def _beat(self, lease: float) -> bool:
        """Renew the lease, or end it; return whether Redis has said who lives."""
        try:
            beating = self._script.run(self._redis, [KEY], [self.node, round(lease * 1000)])
            found = await within(self._clock, ANSWER_SECONDS, beating)
        except _AWAY as error:
            self._log.debug("node_not_leased", error=type(error).__name__)
            return False
        self.living = frozenset(node.decode() for node in found)
        return True


def _inbox(node: str) -> str:
    return f"{KEY}:{node}"
