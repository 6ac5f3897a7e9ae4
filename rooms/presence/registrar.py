"""What a node has registered: its connections in each room, kept in Redis by a lease for each organisation.

Here stands what is to be; Redis is brought to it. What is not known to have arrived is sent again, for registering twice changes
nothing. A node beats its leases every two seconds, and hears with that whose leases have ended; its reaper removes what those left.
One that was stopped for longer than its lease, or whose Redis has forgotten it, finds its incarnation gone, takes another, and
registers everything again. So does one whose Redis lives anew, or holds another number of connections than the node has: what Redis
has brought back of those that had left stays with the incarnation that had them, and goes with its lease.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

import structlog

from core.clock import Clock
from core.deadline import ended_within, within
from core.ids import new_id
from rooms.presence.counts import PresenceCounts
from rooms.presence.due import Due
from rooms.presence.reaper import Reaper
from rooms.presence.store import (
    TICK_MS,
    Applied,
    Beat,
    Beaten,
    Changes,
    Dead,
    Gone,
    PresenceStore,
    Presentation,
    unavailable,
)

LEASE_SECONDS = 6.0
BEAT_SECONDS = 2.0
ANSWER_SECONDS = 1.5
# What an organisation has meanwhile goes together: the first of a quiet one goes at once, or after what others are about to send.
PAUSE_SECONDS = 0.02
BREATH_SECONDS = 0.002
RETRY_SECONDS = 0.25
# Rooms of one pipeline, and connections of one script call: about 5 ms, in which nothing else runs in Redis.
ROOMS_AT_ONCE, CONNECTIONS_AT_ONCE = 64, 250
# Rooms are touched so often, long before Redis forgets them.
TOUCH_BEATS = 5_000
# At each so many beats it is counted what is registered; times that it is less than there is, before all is registered again.
COUNT_BEATS = 5
DOUBTS = 2


class _Room:
    """The node's connections in one room; hashed by identity. `changed` are those of which Redis does not know for sure."""

    __slots__ = ("changed", "channel", "here", "org", "place", "waiting")

    def __init__(self, org: "_Organisation", channel: str) -> None:
        self.org = org
        self.channel = channel
        self.here: dict[str, Presentation] = {}
        self.changed: dict[str, None] = {}
        self.waiting: dict[str, list[asyncio.Future[Applied]]] = {}
        # Where the room was when it was last sent something.
        self.place: Applied | None = None

    @property
    def is_idle(self) -> bool:
        return not (self.here or self.changed)

    def settle(self, sent: Sequence[tuple[str, Presentation | None]], applied: Applied) -> None:
        """Note what has arrived; what was changed since stays to be sent."""
        self.place = applied
        for connection, entry in sent:
            if self.here.get(connection) is entry:
                self.changed.pop(connection, None)
                for future in self.waiting.pop(connection, ()):
                    if not future.done():
                        future.set_result(applied)

    def all_anew(self) -> None:
        self.changed |= dict.fromkeys(self.here)


class _Organisation:
    """An organisation in which the node has connections; without `incarnation` it is not known there.

    `server` is the life of Redis in which that one was made known. `former` are incarnations that were given up while they lived:
    they go on until everything is registered under the new one, so that nobody is taken for gone meanwhile.
    """

    __slots__ = ("doubts", "former", "id", "incarnation", "rooms", "server")

    def __init__(self, org_id: UUID) -> None:
        self.id = org_id
        self.incarnation = ""
        self.server = b""
        self.former: list[str] = []
        self.rooms: dict[str, _Room] = {}
        self.doubts = 0

    @property
    def connections(self) -> int:
        return sum(len(room.here) for room in self.rooms.values())


_Resting = asyncio.Queue[tuple[float, Collection[_Organisation]]]


class Registrar:
    """All that a node has registered. `run()` beside everything else, `close()` at the end."""

    def __init__(self, store: PresenceStore, clock: Clock, counts: PresenceCounts) -> None:
        self._store = store
        self._clock = clock
        self._counts = counts
        self._organisations: dict[UUID, _Organisation] = {}
        # What is to be sent; rooms without a change have something to tell.
        self._due = Due[_Organisation, _Room]()
        # Who has been sent something, and whose Redis did not take it.
        self._resting: _Resting = asyncio.Queue()
        self._failing: _Resting = asyncio.Queue()
        self._untold: dict[_Room, None] = {}
        self._wake = asyncio.Event()
        self._tell = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._beats = 0
        self._is_leaving = False
        self._reaper = Reaper(store, counts, self._tell_later)
        self._log = structlog.get_logger()

    def put(self, org_id: UUID, channel: str, connection: str, entry: Presentation) -> None:
        """Have a connection in a room, as `entry` says, from now on."""
        room = self._room(org_id, channel)
        self._counts.connections += connection not in room.here
        room.here[connection] = entry
        self._change(room, connection)

    def entry(self, org_id: UUID, channel: str, connection: str) -> Presentation | None:
        """Return how a connection is to stand in a room, None where it is not there."""
        org = self._organisations.get(org_id)
        room = None if org is None else org.rooms.get(channel)
        return None if room is None else room.here.get(connection)

    def drop(self, org_id: UUID, channel: str, connection: str) -> None:
        """Have a connection in a room no more."""
        if self.entry(org_id, channel, connection) is None:
            return
        room = self._room(org_id, channel)
        del room.here[connection]
        self._counts.connections -= 1
        self._change(room, connection)

    async def arrived(self, org_id: UUID, channel: str, connection: str, *, within_seconds: float) -> Applied:
        """Return when Redis knows of the latest put of a connection.

        Raises HubError SERVICE_UNAVAILABLE where that takes too long; it will know later.
        """
        room = self._room(org_id, channel)
        if connection not in room.changed and room.place is not None:
            return room.place
        future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        room.waiting.setdefault(connection, []).append(future)
        try:
            return await within(self._clock, within_seconds, future)
        except TimeoutError:
            raise unavailable() from None

    def beat_soon(self) -> None:
        """Beat at once: Redis may have forgotten the node."""
        self._beat_now.set()

    async def run(self) -> None:
        """Bring Redis to what is here until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_on())
            group.create_task(self._wake_on(self._resting))
            group.create_task(self._wake_on(self._failing))
            group.create_task(self._tell_on())
            group.create_task(self._beat_on())
            group.create_task(self._reaper.run())

    async def close(self, lease: float) -> None:
        """Send what is left, and leave what is here to a last lease of so many seconds: clients come back elsewhere meanwhile."""
        self._is_leaving = True
        known = [org for org in self._organisations.values() if org.incarnation]
        try:
            self._due.wake(known)
            if self._due:
                await within(self._clock, ANSWER_SECONDS, self._send())
            last = [Beat(org.id, org.incarnation, lease if org.connections else 0.0) for org in known]
            await within(self._clock, ANSWER_SECONDS, self._leave(last))
        except TimeoutError:
            self._log.warning("presence_not_left", organisations=len(known))

    async def _leave(self, last: Sequence[Beat]) -> None:
        await self._store.beat(last)
        # Nobody else may be there who would have these forgotten.
        await self._store.remove([Dead(beat.org_id, beat.incarnation) for beat in last if not beat.lease])

    def _room(self, org_id: UUID, channel: str) -> _Room:
        org = self._organisations.get(org_id)
        if org is None:
            org = self._organisations[org_id] = _Organisation(org_id)
        room = org.rooms.get(channel)
        if room is None:
            room = org.rooms[channel] = _Room(org, channel)
        return room

    def _change(self, room: _Room, connection: str) -> None:
        room.changed.pop(connection, None)
        room.changed[connection] = None
        self._send_soon(room)

    def _send_soon(self, room: _Room) -> None:
        self._due.add(room.org, room)
        self._wake.set()

    async def _send_on(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                await self._send()
                await self._clock.sleep(BREATH_SECONDS)

    async def _wake_on(self, resting: _Resting) -> None:
        """Let organisations have another turn when they have rested."""
        while True:
            until, organisations = await resting.get()
            await self._clock.sleep(max(0.0, until - self._clock.monotonic()))
            self._due.wake(organisations)
            self._wake.set()

    async def _tell_on(self) -> None:
        """Have what a room held back told when it is time for that."""
        while True:
            await self._tell.wait()
            self._tell.clear()
            await self._clock.sleep(TICK_MS / 1000)
            for room in self._untold:
                self._send_soon(room)
            self._untold.clear()

    async def _beat_on(self) -> None:
        while not self._is_leaving:
            self._beat_now.clear()
            await self._beat()
            beat_now = asyncio.ensure_future(self._beat_now.wait())
            try:
                await ended_within(self._clock, BEAT_SECONDS, beat_now)
            finally:
                beat_now.cancel()

    async def _send(self) -> None:
        """Send what is due, as much as goes at once; what Redis does not take stays due."""
        rooms = self._due.next(ROOMS_AT_ONCE)
        await self._begin(dict.fromkeys(room.org for room in rooms if not room.org.incarnation))
        known = [room for room in rooms if room.org.incarnation]
        failed = {room.org for room in rooms if not room.org.incarnation}
        changes = [self._changes_of(room) for room in known]
        for room, sent, answer in zip(known, changes, await self._store.apply(changes), strict=True):
            match answer:
                case Applied():
                    # Not of an incarnation that was given up meanwhile: what it has goes with it.
                    if room.org.incarnation == sent.incarnation:
                        room.settle(sent.connections, answer)
                        self._sent(room, answer)
                        if room.org.former:
                            self.beat_soon()
                case Gone():
                    self._lose_lease(room.org, sent.incarnation)
                case _:
                    failed.add(room.org)
        self._rest(self._resting, {room.org for room in known} - failed, PAUSE_SECONDS)
        self._rest(self._failing, failed, RETRY_SECONDS)

    def _rest(self, resting: _Resting, organisations: Collection[_Organisation], seconds: float) -> None:
        if organisations:
            self._due.rest(organisations)
            resting.put_nowait((self._clock.monotonic() + seconds, organisations))

    def _changes_of(self, room: _Room) -> Changes:
        some = list(room.changed)[:CONNECTIONS_AT_ONCE]
        told = [(connection, room.here.get(connection)) for connection in some]
        return Changes(room.org.id, room.channel, room.org.incarnation, told)

    def _sent(self, room: _Room, applied: Applied) -> None:
        self._due.drop(room.org, room)
        if room.changed:
            self._due.add(room.org, room)  # behind the others
        elif not applied.is_told:
            self._untold[room] = None
            self._tell.set()
        elif room.is_idle:
            self._untold.pop(room, None)
            room.org.rooms.pop(room.channel, None)

    async def _begin(self, organisations: Iterable[_Organisation]) -> None:
        """Make the node known where it is not, and Redis allows."""
        beginning = [(org, str(new_id())) for org in organisations]
        if not beginning:
            return
        beats = [Beat(org.id, incarnation, LEASE_SECONDS, is_first=True) for org, incarnation in beginning]
        for (org, incarnation), answer in zip(beginning, await self._store.beat(beats), strict=True):
            if isinstance(answer, Beaten):
                # Who is dead, the next beat tells: it may be who this one was, which takes its own over with what it sends now.
                org.incarnation, org.server = incarnation, answer.server

    def _lose_lease(self, org: _Organisation, incarnation: str) -> None:
        """Begin anew, unless that has happened since the incarnation was known to live."""
        if org.incarnation == incarnation:
            self._counts.lost_leases += 1
            self._log.warning("presence_lease_lost", org_id=str(org.id), connections=org.connections)
            self._begin_anew(org)

    def _begin_anew(self, org: _Organisation) -> None:
        """Register all that is in an organisation again, under another incarnation."""
        org.incarnation, org.doubts = "", 0
        for room in org.rooms.values():
            room.all_anew()
            self._send_soon(room)

    async def _beat(self) -> None:
        """Beat in every organisation."""
        self._beats += 1
        known = list(self._organisations.values())
        beating = [(org, beat) for org in known for beat in self._beats_of_former(org)]
        beating += [self._beat_of(org) for org in known if org.incarnation]
        if not beating:
            return
        try:
            answers = await within(self._clock, ANSWER_SECONDS, self._store.beat([beat for _, beat in beating]))
        except TimeoutError:
            answers = [TimeoutError()] * len(beating)
        for (org, beat), answer in zip(beating, answers, strict=True):
            self._beaten(org, beat, answer)

    def _beat_of(self, org: _Organisation) -> tuple[_Organisation, Beat]:
        if not org.rooms:
            # Whoever comes meanwhile begins with another incarnation.
            del self._organisations[org.id]
            return org, Beat(org.id, org.incarnation)
        if self._beats % TOUCH_BEATS == 0:
            for room in org.rooms.values():
                self._send_soon(room)
        return org, Beat(org.id, org.incarnation, LEASE_SECONDS, counts=self._beats % COUNT_BEATS == 0)

    def _beats_of_former(self, org: _Organisation) -> list[Beat]:
        """Have those that were given up go on, or end once all that they had is another's."""
        former = org.former
        is_taken_over = org.incarnation and not any(room.changed for room in org.rooms.values())
        if is_taken_over:
            org.former = []
        return [Beat(org.id, each, 0.0 if is_taken_over else LEASE_SECONDS) for each in former]

    def _beaten(self, org: _Organisation, beat: Beat, answer: Beaten | Gone | Exception) -> None:
        if isinstance(answer, Gone):
            self._lose_lease(org, beat.incarnation)
        elif isinstance(answer, Exception):
            self._log.debug("presence_not_leased", error=type(answer).__name__)
        else:
            self._reaper.add(answer.dead)
            if beat.lease and org.incarnation == beat.incarnation:
                self._compare(org, answer)

    def _tell_later(self, org_id: UUID, channel: str) -> None:
        self._untold[self._room(org_id, channel)] = None
        self._tell.set()

    def _compare(self, org: _Organisation, found: Beaten) -> None:
        """See whether Redis has what is here: it may not where it lives anew, or was short of memory and has dropped a part."""
        if found.server == org.server:
            if found.registered is None:
                return
            if found.registered == org.connections or any(room.changed for room in org.rooms.values()):
                org.doubts = 0
                return
            org.doubts += 1
            if org.doubts < DOUBTS:
                return
        self._log.warning("presence_registered_again", org_id=str(org.id), registered=found.registered)
        org.former.append(org.incarnation)
        self._begin_anew(org)
