"""What a returning subscriber gets, and how it is brought up to date.

The order of steps in a subscribe: join as held; `feed = await feeds.acquire(org)`; `starts = await starts_of(...)`; send
`subscribed` (and `reset` where a start says so); `await catch_up(...)`, whose `go_live` makes the channels live. What the feed
brings before `go_live` is not for the member: catch_up reads it from the ring.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar
from uuid import UUID

from core.clock import Clock
from core.deadline import within
from core.errors import HubError
from core.events.event import Entry, LogHead, namespace_of
from rooms.wildcards import source_of

T = TypeVar("T")

# Entries that are read, or handed over, at once.
PAGE = 256
# Characters of envelopes that go into a member's outbound queue at once when it goes live.
PAGE_SIZE = 512 * 1024
STALL_SECONDS = 30.0
RETRY_SECONDS = 0.25

# An entry, and the channel of the member that it is for: an entry for two of its channels stands twice.
Missed = list[tuple[str, Entry]]
Reason = Literal["epoch", "offset"]


class CatchUpStalled(Exception):
    """A subscriber got no nearer to the head for STALL_SECONDS: end its connection with a code that recovers."""


class LogRestarted(Exception):
    """The log began a new life meanwhile (Sink.reset told it): what was read is of the old one.

    The channels are live after `feed.last` of `feed.epoch` if the caller makes them so in this turn of the loop.
    """


@dataclass(frozen=True, slots=True)
class Bookmark:
    """What a client says that it has of a channel; both None where it never had any."""

    offset: int | None = None
    epoch: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a subscription starts: frames follow after `after`.

    `recovered`: nothing since the client's offset is missing. `reset`: why that cannot be, None where nothing was asked.
    """

    after: int
    recovered: bool
    reset: Reason | None


@dataclass(frozen=True, slots=True)
class Starts:
    """The starts of one subscribe, all of one life of the log."""

    life: int
    epoch: str
    channels: Mapping[str, Start]

    @property
    def after(self) -> dict[str, int]:
        """The position after which each channel goes on."""
        return {channel: start.after for channel, start in self.channels.items()}


class Feed(Protocol):
    """What recovery needs of rooms.feed.OrgFeed."""

    @property
    def org_id(self) -> UUID: ...  # noqa: D102
    @property
    def epoch(self) -> str: ...  # noqa: D102
    @property
    def life(self) -> int: ...  # noqa: D102
    @property
    def last(self) -> int: ...  # noqa: D102
    def ring_since(self, after: int) -> list[Entry] | None: ...  # noqa: D102
    async def reached(self, position: int, *, life: int) -> None: ...  # noqa: D102


class ChannelLog(Protocol):
    """What recovery reads of the log (core.events.log.LogReader); raises HubError while PostgreSQL is away."""

    async def head(self, org_id: UUID) -> LogHead: ...  # noqa: D102
    async def read(  # noqa: D102
        self, org_id: UUID, channels: Collection[str], *, after: int, upto: int, limit: int
    ) -> list[Entry]: ...


def start_of(offset: int | None, epoch: str | None, head: LogHead) -> Start:
    """Decide where a subscription starts, from what the client says and where the log ends."""
    if offset is None:
        return Start(head.position, recovered=False, reset=None)
    # The same offset in another epoch is another entry: epochs are compared first. None means the current one.
    if epoch is not None and epoch != head.epoch:
        return Start(head.position, recovered=False, reset="epoch")
    if offset > head.position:
        # The log has lost what the client saw.
        return Start(head.position, recovered=False, reset="offset")
    return Start(offset, recovered=True, reset=None)


async def starts_of(feed: Feed, log: ChannelLog, bookmarks: Mapping[str, Bookmark]) -> Starts:
    """Decide for all channels of a subscribe. In the turn in which this returns, no start is of an older life than the feed.

    A client may come from a node that is ahead of this one: where an offset is above `feed.last`, PostgreSQL is asked where the
    log ends. Such a start is above `feed.last`; catch_up waits until the feed has passed it, and sends nothing up to it.
    Raises HubError while PostgreSQL is away and is needed.
    """
    while True:
        life = feed.life
        here = LogHead(feed.epoch, feed.last)
        top = here
        if any(_of_epoch(mark, here.epoch) > here.position for mark in bookmarks.values()):
            top = await log.head(feed.org_id)
            if feed.life != life:
                continue
            # A feed that has not heard of a new epoch yet tells by reset, soon: until then it is the old one that counts here.
            top = LogHead(here.epoch, max(top.position, feed.last) if top.epoch == here.epoch else feed.last)
            here = LogHead(feed.epoch, feed.last)
        starts = {channel: _start(mark, here, top) for channel, mark in bookmarks.items()}
        return Starts(life, here.epoch, starts)


def _of_epoch(mark: Bookmark, epoch: str) -> int:
    """Return the bookmark's offset where it is of `epoch`, else -1."""
    return mark.offset if mark.offset is not None and mark.epoch in (None, epoch) else -1


def _start(mark: Bookmark, here: LogHead, top: LogHead) -> Start:
    """Start from the bookmark if the log has it, else where this node is."""
    start = start_of(mark.offset, mark.epoch, top)
    return start if start.recovered else Start(here.position, start.recovered, start.reset)


async def catch_up(
    feed: Feed,
    log: ChannelLog,
    starts: Starts,
    deliver: Callable[[Missed], Awaitable[None]],
    go_live: Callable[[Missed], None],
    *,
    clock: Clock,
) -> int:
    """Bring the channels of one subscribe up to date by one merged read, in position order, then make them live.

    `deliver` is awaited with what was missed, page by page: it returns when the socket has taken it. `go_live` is called once,
    with the rest, in a turn in which nothing is missing: from then on what Sink.deliver brings goes on without gap or double.
    Never reads above `feed.last`: what is committed but not published comes by the feed. PostgreSQL away is waited for.
    Returns how many pages of the log it took; 0 where the ring had everything. Raises CatchUpStalled, LogRestarted.
    """
    work = _CatchUp(feed, log, starts, deliver, clock)
    await work.run(go_live)
    return work.pages


class _CatchUp:
    """One catching up. `cursor`: everything wanted up to it has been delivered."""

    def __init__(
        self, feed: Feed, log: ChannelLog, starts: Starts, deliver: Callable[[Missed], Awaitable[None]], clock: Clock
    ) -> None:
        self._feed = feed
        self._log = log
        self._life = starts.life
        self._after = starts.after
        # What is read, and the channels that want it: a wildcard wants what another name brings.
        self._wanting: dict[str, list[str]] = {}
        for channel in starts.channels:
            self._wanting.setdefault(source_of(channel), []).append(channel)
        self._deliver = deliver
        self._clock = clock
        self._cursor = min(self._after.values(), default=feed.last)
        # Above `last` where the client comes from a node that is ahead; the feed must pass it before that channel is live.
        self._highest = max(self._after.values(), default=0)
        self.pages = 0
        self._nearest: int | None = None
        self._nearest_at = clock.monotonic()

    async def run(self, go_live: Callable[[Missed], None]) -> None:
        while True:
            self._check_life()
            rest = self._feed.ring_since(self._cursor)
            if rest is None:
                await self._read_page()
            elif self._feed.last >= self._highest and _size(rest) <= PAGE_SIZE and len(rest) <= PAGE:
                go_live(self._wanted(rest))
                return
            elif rest:
                await self._pass_on(rest)
            else:
                position = min(self._cursor + 1, self._highest)
                await self._bounded(self._feed.reached(position, life=self._life))

    async def _read_page(self) -> None:
        upto = self._feed.last
        reading = self._log.read(self._feed.org_id, self._wanting.keys(), after=self._cursor, upto=upto, limit=PAGE)
        try:
            entries = await self._bounded(reading)
        except HubError:
            await self._clock.sleep(RETRY_SECONDS)
            return
        self.pages += 1
        await self._pass_on(entries)
        if len(entries) < PAGE:
            self._cursor = upto

    async def _pass_on(self, entries: list[Entry]) -> None:
        for page in _pages(entries):
            # Also what was just read may be of a new life.
            self._check_life()
            wanted = self._wanted(page)
            if wanted:
                await self._bounded(self._deliver(wanted))
            self._cursor = page[-1].position

    def _wanted(self, entries: list[Entry]) -> Missed:
        wanted: Missed = []
        for entry in entries:
            # Of both rooms of an event; a dict, since an entry may stand in the room of its kind alone.
            for source in dict.fromkeys((namespace_of(entry.channel), entry.channel)):
                for channel in self._wanting.get(source, ()):
                    if entry.position > self._after[channel]:
                        wanted.append((channel, entry))
        return wanted

    def _check_life(self) -> None:
        if self._feed.life != self._life:
            raise LogRestarted

    async def _bounded(self, work: Awaitable[T]) -> T:
        """Do a step; CatchUpStalled when the distance to the head has not fallen for STALL_SECONDS by then."""
        now = self._clock.monotonic()
        distance = max(self._feed.last, self._highest) - self._cursor
        if self._nearest is None or distance < self._nearest:
            self._nearest = distance
            self._nearest_at = now
        try:
            return await within(self._clock, max(0.0, self._nearest_at + STALL_SECONDS - now), work)
        except TimeoutError as error:
            raise CatchUpStalled from error


def _size(entries: list[Entry]) -> int:
    return sum(len(entry.envelope) for entry in entries)


def _pages(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Cut into pages of at most PAGE entries and about PAGE_SIZE, each with at least one."""
    page: list[Entry] = []
    size = 0
    for entry in entries:
        page.append(entry)
        size += len(entry.envelope)
        if len(page) == PAGE or size >= PAGE_SIZE:
            yield page
            page, size = [], 0
    if page:
        yield page
