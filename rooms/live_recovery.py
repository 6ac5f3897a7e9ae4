"""What a returning subscriber of a live room gets, and how it is brought up to date.

The order of steps: `feed = await rooms.acquire(...)`; `place = await recovery.place(...)`; send `subscribed` (and `reset` where the
place says so); `recovery.try_go_live(...)`, or else `await recovery.catch_up(...)`. What the feed brings before is not for the
member: it is read from the feed's memory.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from core.clock import Clock
from core.deadline import within
from core.errors import HubError
from rooms.live_feed import PAGE, LiveFeed, Reason, dense
from rooms.live_store import Head, LiveStore, Snapshot
from rooms.live_wire import LiveEntry
from rooms.recovery import Bookmark

# How long Redis may take to bring a node up to date that a client is ahead of.
PATIENCE_SECONDS = 5.0
RETRY_SECONDS = 0.25
# Characters of envelopes that a subscriber is sent in the turn in which it goes live.
AT_ONCE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where a subscription starts: its events follow after `after` of `epoch`.

    `recovered`: nothing since the client's offset is missing. `reset`: why that cannot be, None where nothing was asked.
    `sequence`: what the carrier brings after it completes what is after `after`; None where the history must be read first.
    `life`: of the carrier's feed; in another one the place says nothing.
    """

    after: int
    epoch: str
    recovered: bool
    reset: Reason | None
    sequence: int | None
    life: int


class LiveRecovery:
    """Decides and reads; holds nothing of a subscriber."""

    def __init__(self, store: LiveStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def place(self, feed: LiveFeed, channel: str, mark: Bookmark) -> Place:
        """Decide where a subscription starts. Raises HubError SERVICE_UNAVAILABLE when Redis does not answer and is needed."""
        if feed.is_shared:
            return await self._place_in_shared(feed, channel, mark)
        is_ahead = mark.offset is not None and (mark.epoch not in (None, feed.epoch) or mark.offset > feed.last)
        if is_ahead:
            # The client may come from a node that has seen more than this one.
            await self._patiently(feed.checked())
        life, here = feed.life, Head(feed.epoch, feed.last)
        reset = _reset_of(mark, here)
        if mark.offset is not None and reset is None and feed.since(mark.offset, channel) is None:
            found = await self._store.read(feed.org_id, channel, "after", mark.offset, limit=1)
            reset = None if found.continues(mark.offset) else "history"
        if mark.offset is None or reset is not None:
            return Place(here.position, here.epoch, recovered=False, reset=reset, sequence=here.position, life=life)
        return Place(mark.offset, here.epoch, recovered=True, reset=None, sequence=mark.offset, life=life)

    async def catch_up(
        self,
        feed: LiveFeed,
        channel: str,
        place: Place,
        deliver: Callable[[list[LiveEntry]], Awaitable[None]],
        go_live: Callable[[list[LiveEntry]], object],
        reset: Callable[[Place], None],
    ) -> None:
        """Bring a subscription from `place` up to date, then make it live.

        `deliver` is awaited with what was missed, page by page. `reset` is called where what follows is missing after all: the
        subscription goes on from the new place. `go_live` is called once, with the rest, in a turn in which nothing is missing:
        from then on what LiveSink.deliver brings goes on without gap or double. Redis away is waited for.
        """
        while True:
            try:
                if feed.life != place.life:
                    place = await self._place_anew(feed, channel, feed.reason)
                    reset(place)
                elif place.sequence is None:
                    place, entries = await self._read_page(feed, channel, place)
                    await _pass_on(place, entries, deliver, reset)
                elif feed.last < place.sequence:
                    await self._reached(feed, place)
                elif (rest := self.try_go_live(feed, channel, place)) is not None:
                    go_live(rest)
                    return
                else:
                    place, entries = _from_ring(feed, channel, place)
                    await _pass_on(place, entries, deliver, reset)
            except HubError:
                await self._clock.sleep(RETRY_SECONDS)

    async def next_page(self, feed: LiveFeed, channel: str, place: Place) -> tuple[Place, list[LiveEntry]]:
        """Return what follows `place`, at least one entry, and where that leads; waits for it, and for Redis.

        The place that is returned has a `reset`, and there is no entry, where something is missing.
        """
        entries: list[LiveEntry] = []
        while not entries and place.reset is None:
            try:
                if feed.life != place.life:
                    place = replace(place, reset=feed.reason)
                elif place.sequence is None:
                    place, entries = await self._read_page(feed, channel, place)
                elif feed.last <= place.sequence:
                    await _moved(feed, place)
                else:
                    place, entries = _from_ring(feed, channel, place)
            except HubError:
                await self._clock.sleep(RETRY_SECONDS)
        return place, entries

    def try_go_live(self, feed: LiveFeed, channel: str, place: Place) -> list[LiveEntry] | None:
        """Return the rest where nothing has to be waited for, and follow the channel; None where catch_up is needed."""
        if feed.life != place.life or place.sequence is None:
            return None
        rest = _rest(feed, channel, place)
        if rest is None or sum(len(entry.envelope) for entry in rest) > AT_ONCE:
            return None
        feed.follow(channel, Head(place.epoch, rest[-1].position if rest else place.after))
        return rest

    async def _place_in_shared(self, feed: LiveFeed, channel: str, mark: Bookmark) -> Place:
        while True:
            life = feed.life
            found = await self._read_shared(feed, channel, mark.offset)
            if feed.life == life:
                break
        reset = _reset_of(mark, found.head)
        if reset is None and mark.offset is not None and not found.continues(mark.offset):
            reset = "history"
        at, epoch = found.head.position, found.head.epoch
        if mark.offset is None or reset is not None:
            return Place(at, epoch, recovered=False, reset=reset, sequence=found.carrier.position, life=life)
        sequence = found.carrier.position if mark.offset == at else None
        return Place(mark.offset, epoch, recovered=True, reset=None, sequence=sequence, life=life)

    async def _place_anew(self, feed: LiveFeed, channel: str, reason: Reason) -> Place:
        """Return the place of a subscription whose carrier has begun a new life."""
        life, at, epoch, sequence = feed.life, feed.last, feed.epoch, feed.last
        if feed.is_shared:
            found = await self._read_shared(feed, channel, None)
            at, epoch, sequence = found.head.position, found.head.epoch, found.carrier.position
        return Place(at, epoch, recovered=False, reset=reason, sequence=sequence, life=life)

    async def _read_shared(self, feed: LiveFeed, channel: str, after: int | None) -> Snapshot:
        found = await self._store.read(feed.org_id, channel, "after", after, limit=1)
        if found.carrier.epoch != feed.epoch:
            # Not heard of here yet. Once it is, this is a place of an older life, and is taken anew.
            await self._patiently(feed.checked())
        return found

    async def _read_page(self, feed: LiveFeed, channel: str, place: Place) -> tuple[Place, list[LiveEntry]]:
        """Read on from `place`; return where that leads. The place has a `reset` where something is missing."""
        found = await self._store.read(feed.org_id, channel, "after", place.after, limit=PAGE)
        if found.carrier.epoch != feed.epoch:
            await self._patiently(feed.checked())
        if feed.life != place.life:
            return replace(place, reset=None), []
        at, sequence = found.head.position, found.carrier.position
        is_same = found.head.epoch == place.epoch
        if not is_same or not found.continues(place.after):
            reason: Reason = "history" if is_same else "epoch"
            return replace(place, after=at, epoch=found.head.epoch, sequence=sequence, reset=reason), []
        entries = dense(found.entries, place.after)
        after = entries[-1].position if entries else place.after
        if not feed.is_shared:
            sequence = after
        return replace(place, after=after, sequence=sequence if after >= at else None, reset=None), entries

    async def _reached(self, feed: LiveFeed, place: Place) -> None:
        sequence = place.sequence or 0
        await self._patiently(feed.until(lambda: feed.last >= sequence or feed.life != place.life))

    async def _patiently(self, work: Awaitable[None]) -> None:
        try:
            await within(self._clock, PATIENCE_SECONDS, work)
        except TimeoutError:
            raise HubError("SERVICE_UNAVAILABLE", "Redis does not answer", retry_after=1) from None


async def _moved(feed: LiveFeed, place: Place) -> None:
    """Return when the feed has something after `place`, or another life."""
    sequence, life = place.sequence or 0, place.life
    await feed.until(lambda: feed.last > sequence or feed.life != life)


async def _pass_on(
    place: Place,
    entries: list[LiveEntry],
    deliver: Callable[[list[LiveEntry]], Awaitable[None]],
    reset: Callable[[Place], None],
) -> None:
    if place.reset is not None:
        reset(place)
    if entries:
        await deliver(entries)


def _reset_of(mark: Bookmark, here: Head) -> Reason | None:
    """Tell why a bookmark cannot be honoured by a room that is at `here`, whatever its history holds."""
    if mark.offset is None:
        return None
    # The same offset in another epoch is another event: epochs are compared first. None means the current one.
    if mark.epoch not in (None, here.epoch):
        return "epoch"
    return "offset" if mark.offset > here.position else None


def _rest(feed: LiveFeed, channel: str, place: Place) -> list[LiveEntry] | None:
    """Return what this node has of the channel after `place`; None where it is not in memory."""
    entries = None if place.sequence is None else feed.since(place.sequence, channel)
    if entries is None:
        return None
    return [each for each in entries if each.position > place.after or each.epoch not in ("", place.epoch)]


def _from_ring(feed: LiveFeed, channel: str, place: Place) -> tuple[Place, list[LiveEntry]]:
    """Return what is in memory after `place`, and where it leads; without it the history must be read."""
    rest = _rest(feed, channel, place)
    if not rest:
        return replace(place, sequence=None, reset=None), []
    last = rest[-1]
    # Of each delta of an answer: `replace` takes twice as long.
    return Place(last.position, place.epoch, place.recovered, None, last.sequence, place.life), rest
