"""Live rooms in Redis: publishing, histories, heads. One script call each; what Redis does not answer is a HubError."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from redis.exceptions import ClusterDownError, ClusterError, RedisError

from core.errors import HubError
from core.fair import FairSlots
from core.ids import random_bytes
from core.store.redis import Redis, Script
from rooms.fence import Fence, Outrun, RoomLost
from rooms.live_rules import CARRIER, LiveRules, carrier_of
from rooms.live_wire import (
    LiveEntry,
    body_of,
    decode_body,
    edits_key,
    history_key,
    live_channel,
    room_key,
    signal_of,
)
from rooms.namespaces import Namespaces

# Reads that a node has under way: after a reconnect all its rooms want to know where they are.
READERS = 8
# Of one organisation.
READERS_OF_ONE = 6
# Events, and rooms, that one script call publishes: while it runs, nothing else does in Redis.
AT_ONCE, ROOMS_AT_ONCE = 64, 16
# Rooms whose heads one script call reads: a few microseconds each, in which nothing else runs in Redis.
HEADS = 2_000


@dataclass(frozen=True, slots=True)
class Head:
    """Where a room is: `position` is the last offset given, 0 of a room where nothing happened."""

    epoch: str
    position: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A room at one moment: where it is, where its carrier is, and the entries that were asked for, oldest first."""

    head: Head
    carrier: Head
    entries: list[LiveEntry]

    def continues(self, after: int) -> bool:
        """Tell whether the entries go on from `after` without a gap; also where there is nothing after it."""
        return self.head.position <= after or (bool(self.entries) and self.entries[0].sequence == after + 1)


@dataclass(frozen=True, slots=True)
class Letter:
    """An event as it is published, and what must let it through."""

    envelope: str
    fence: Fence | None = None


@dataclass(frozen=True, slots=True)
class Letters:
    """Events for one room, in their order."""

    org_id: UUID
    channel: str
    letters: Sequence[Letter]


# Where an event stands, or why it was not published.
Outcome = Head | Outrun | RoomLost


class LiveStore:
    """All live rooms. Every method raises HubError SERVICE_UNAVAILABLE when Redis does not answer.

    `namespaces` says how much is kept of each room.
    """

    def __init__(self, redis: Redis, namespaces: Namespaces | None = None) -> None:
        self.namespaces = namespaces or Namespaces()
        self._redis = redis
        self._scripts = {name: Script(Path(__file__).with_name(f"live_{name}.lua")) for name in _SCRIPTS}
        self._readers = FairSlots[UUID](READERS, READERS_OF_ONE)

    async def publish(self, org_id: UUID, channel: str, envelope: str, fence: Fence | None = None) -> Head:
        """Publish an event; return its offset and the room's epoch.

        Raises Outrun and RoomLost where the fence does not let it through. After a HubError, whether it went out is unknown.
        """
        letters = Letters(org_id, channel, [Letter(envelope, fence)])
        (answer,) = await self._run("publish", *self._publishing([letters]))
        (outcome,) = _outcomes_of(answer)
        if isinstance(outcome, Head):
            return outcome
        raise outcome

    async def publish_each(self, letters: Sequence[Letters]) -> list[list[Outcome] | Exception]:
        """Publish all of them by one pipeline; return what became of the events of each, in their order.

        Each script call has some rooms of one organisation; where a cluster does not take one, since keys of a room are on their
        way, its rooms go again by a call each. Redis' error stands in place of answers that there are not (`unavailable` tells
        it): whether those went out is unknown.
        """
        calls = _calls_of(letters)
        found = await self._publish_calls(calls)
        again = _refused_for_others(calls, found)
        if again:
            for at, outcomes in zip(again, await self._publish_calls([[letters[at]] for at in again]), strict=True):
                found[at] = outcomes
        return found

    async def _publish_calls(self, calls: Sequence[Sequence[Letters]]) -> list[list[Outcome] | Exception]:
        answers = await self._scripts["publish"].run_each(self._redis, [self._publishing(some) for some in calls])
        found: list[list[Outcome] | Exception] = []
        for some, answer in zip(calls, answers, strict=True):
            is_lost = isinstance(answer, Exception)
            found += [answer] * len(some) if is_lost else [_outcomes_of(each) for each in answer]
        return found

    async def read(
        self,
        org_id: UUID,
        channel: str,
        direction: Literal["after", "before"] = "after",
        offset: int | None = None,
        *,
        limit: int,
    ) -> Snapshot:
        """Read a room; `after` gives the oldest entries above `offset`, `before` the latest below it, always oldest first.

        Without `offset` that is the history's beginning, or its end.
        """
        rules = self.namespaces.rules_of(org_id, channel) or CARRIER
        carrier = carrier_of(channel) if ":" in channel else channel
        keys = [key(org_id, name) for name in (channel, carrier) for key in (room_key, history_key)]
        keys.append(edits_key(org_id, channel))
        bound = "" if offset is None else offset
        args = [_new_ids(), rules.remembered, rules.history_seconds, direction, bound, limit]
        async with self._readers.of(org_id):
            epoch, head, carrier_epoch, sequence, rows = await self._run("read", keys, args)
        entries = [decode_body(_offset_of(rows[at]), rows[at + 1].decode()) for at in range(0, len(rows), 2)]
        if direction == "before":
            entries.reverse()
        if carrier != channel:
            entries = [replace(entry, epoch=epoch.decode()) for entry in entries]
        return Snapshot(Head(epoch.decode(), head), Head(carrier_epoch.decode(), sequence), entries)

    async def heads(self, org_id: UUID, channels: Sequence[str]) -> list[Head]:
        """Return where each room is, all of at most HEADS at one moment."""
        found: list[Head] = []
        for start in range(0, len(channels), HEADS):
            some = channels[start : start + HEADS]
            keys = [key(org_id, name) for name in some for key in (room_key, history_key)]
            async with self._readers.of(org_id):
                states = await self._run("heads", keys, [_new_id(), CARRIER.remembered])
            found += [Head(states[at].decode(), states[at + 1]) for at in range(0, len(states), 2)]
        return found

    async def amend(
        self, org_id: UUID, channel: str, epoch: str, offset: int, shown: int, revision: int, envelope: str
    ) -> int:
        """Show `envelope` in place of what the history of `epoch` shows at `offset` as revision `shown`.

        Returns what live_amend.lua does.
        """
        rules = self.namespaces.rules_of(org_id, channel) or CARRIER
        keys = [room_key(org_id, channel), history_key(org_id, channel), edits_key(org_id, channel)]
        body = body_of(channel, envelope)
        return await self._run(
            "amend", keys, [epoch, offset, shown, revision, body, rules.history_bytes, rules.remembered]
        )

    async def signal(self, org_id: UUID, channel: str, envelope: str) -> None:
        """Publish what nobody keeps."""
        try:
            await self._redis.spublish(live_channel(org_id, carrier_of(channel)), signal_of(channel, envelope))
        except (RedisError, OSError, TimeoutError) as error:
            raise unavailable() from error

    def _publishing(self, rooms: Sequence[Letters]) -> tuple[list[str], list[str | int]]:
        """Return keys and arguments of live_publish.lua."""
        keys: list[str] = []
        args: list[str | int] = []
        for some in rooms:
            org_id, channel = some.org_id, some.channel
            carrier = carrier_of(channel)
            keys += (room_key(org_id, channel), history_key(org_id, channel))
            if carrier != channel:
                keys += (room_key(org_id, carrier), history_key(org_id, carrier))
            bounds = (*_bounds(self.namespaces.rules_of(org_id, channel) or CARRIER), *_bounds(CARRIER))
            counts = (2 if carrier == channel else 4, len(some.letters))
            args += (live_channel(org_id, carrier), _new_ids(), channel, *bounds, *counts)
            for letter in some.letters:
                args += (_fence_of(letter.fence), letter.envelope)
        return keys, args

    async def _run(self, name: str, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        try:
            return await self._scripts[name].run(self._redis, keys, args)
        except (RedisError, OSError, TimeoutError) as error:
            raise unavailable() from error


_SCRIPTS = ("publish", "read", "heads", "amend")


def unavailable() -> HubError:
    """Return what is raised when Redis does not answer."""
    return HubError("SERVICE_UNAVAILABLE", "Live rooms are not available for the moment", retry_after=1)


def _calls_of(letters: Sequence[Letters]) -> list[list[Letters]]:
    """Return what goes by one script call each, in its order: some rooms of one organisation, which are on one server."""
    calls: list[list[Letters]] = []
    events = 0
    for some in letters:
        events += len(some.letters)
        last = calls[-1] if calls else None
        if last is None or last[0].org_id != some.org_id or len(last) == ROOMS_AT_ONCE or events > AT_ONCE:
            calls.append([some])
            events = len(some.letters)
        else:
            last.append(some)
    return calls


def _refused_for_others(calls: Sequence[Sequence[Letters]], found: Sequence[list[Outcome] | Exception]) -> list[int]:
    """Return which letters a cluster has refused, undone, as one of several rooms; but none that others of its room came after."""
    rooms = [(some.org_id, some.channel) for call in calls for some in call]
    last = {room: at for at, room in enumerate(rooms)}
    has_company = [len(call) > 1 for call in calls for _ in call]
    return [at for at, room in enumerate(rooms) if has_company[at] and last[room] == at and _is_refused(found[at])]


def _is_refused(outcome: list[Outcome] | Exception) -> bool:
    # Of a slot that nobody serves each room would be refused.
    return isinstance(outcome, ClusterError) and not isinstance(outcome, ClusterDownError)


def _fence_of(fence: Fence | None) -> str:
    return "" if fence is None else f"{fence.number} {fence.once:d} {fence.epoch or '*'} {fence.key}"


def _outcomes_of(answer: Any) -> list[Outcome]:
    epoch = answer[0].decode()
    return [_outcome_of(epoch, offset) for offset in answer[1:]]


def _outcome_of(epoch: str, offset: int) -> Outcome:
    if offset > 0:
        return Head(epoch, offset)
    return RoomLost(epoch) if offset else Outrun()


def _bounds(rules: LiveRules) -> tuple[int, int, int, int]:
    return rules.history_entries, rules.history_bytes, rules.history_seconds, rules.remembered


def _new_id() -> str:
    return random_bytes(6).hex()


def _new_ids() -> str:
    both = random_bytes(12).hex()
    return f"{both[:12]},{both[12:]}"


def _offset_of(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
