"""The door of the stream: `GET /v1/stream` and `/v2/stream` become WebSockets; what goes for all sockets of the node.

aiohttp reads the request and hands the transport over; from then on it is a Socket, and everything that is sent goes through
`Outbound`.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from core.auth.authenticator import credential_of
from core.auth.caller import Caller
from core.auth.reference import Reference
from core.auth.seats import Seat, Seats
from core.auth.tickets import Tickets
from core.clock import Clock
from core.deadline import ended_within
from core.errors import HubError
from core.events.log import LogReader
from core.ids import new_id
from core.pressure import Calm, Part, Pressed
from hub.stream.calls import Operations
from hub.stream.codes import OVERLOADED
from hub.stream.connection import Connection
from hub.stream.consumers import Consumers
from hub.stream.counts import StreamCounts
from hub.stream.deflated_wire import DeflatedWire
from hub.stream.drain import send_away
from hub.stream.fanout import Fanout
from hub.stream.gate import Gate
from hub.stream.handshake import Offer, acceptance, offer_of
from hub.stream.heartbeat import Rhythm
from hub.stream.inflation import Inflation
from hub.stream.outbound import Bounds, Outbound
from hub.stream.parts import Authenticates, Parts, Ticks
from hub.stream.presence_listeners import NodePresence
from hub.stream.readmission import Readmission
from hub.stream.returns import NotNowError
from hub.stream.settings import StreamSettings
from hub.stream.socket import HandedOver, Socket, take_over
from hub.stream.subscriptions import Sources
from hub.stream.waiting import Waiting
from hub.stream.wheel import Wheel
from hub.stream.wires import JsonWire, MsgpackWire, Wire
from rooms.beginnings import Beginnings
from rooms.feed import Feeds
from rooms.live import LiveRooms
from rooms.openings import Openings
from rooms.pages import SharedLog
from rooms.speaking import TakesTelemetry

WRITE_HIGH_WATER_BYTES = 64 * 1024
TICK_SECONDS = 0.5
RECHECK_SECONDS = 1.0
LATEST_SECONDS = 0.05
# The same for a node that has too much to do.
SLOWED_LATEST_SECONDS = 0.5
# So many sockets are looked at before others get their turn of the loop: some milliseconds' work where all are pinged.
SLICE = 200
# A stopping node sends so many clients a second to the others.
RETURNS_PER_SECOND = 500

Render = Callable[[web.Request, HubError], web.StreamResponse]


class StreamDoor:
    """All sockets of one node.

    `render` turns a refusal into the answer of a request that does not become a socket. `run` must run as long as the door is
    open; `drain` sends the sockets elsewhere; `close` ends what is left.
    """

    def __init__(
        self,
        *,
        feeds: Feeds,
        log: LogReader,
        fanout: Fanout,
        live: LiveRooms,
        authenticator: Authenticates,
        tickets: Tickets,
        seats: Seats,
        operations: Operations,
        consumers: Consumers,
        clock: Clock,
        beginnings: Beginnings | None = None,
        telemetry: TakesTelemetry | None = None,
        presence: NodePresence | None = None,
        render: Render,
        public_url: str | None = None,
        origins: Collection[str] = (),
        settings: StreamSettings | None = None,
        returns_per_second: int = RETURNS_PER_SECOND,
        pressure: Pressed | None = None,
    ) -> None:
        self._pressure = pressure or Calm()
        self._returns_per_second = returns_per_second
        openings = None if beginnings is None else Openings(live, beginnings, clock)
        self._sources = Sources(
            feeds, SharedLog(log, clock), log, fanout, clock, live, consumers, openings, telemetry, presence
        )
        # The first is what a client gets that names none, or only unknown ones.
        self._json = JsonWire()
        self._wires: Mapping[str, Wire] = {wire.subprotocol: wire for wire in (self._json, MsgpackWire())}
        self._deflated: Mapping[Wire, Wire] = {wire: DeflatedWire(wire, fanout.counts) for wire in self._wires.values()}
        self._clock = clock
        self._authenticator = authenticator
        self._tickets = tickets
        self._seats = seats
        self.render = render
        self._origins = frozenset(_origin_of(url) for url in (*origins, public_url) if url is not None)
        settings = settings or StreamSettings()
        self.bounds = Bounds(clock, settings.waiting_bytes, settings.waiting_age)
        self._wheel = Wheel[Ticks](TICK_SECONDS)
        self._gate = self._make_gate(settings)
        # What waits for clients of this node.
        self.waiting = Waiting(
            per_organisation=settings.waiting_bytes_of_organisation, most=settings.waiting_bytes_of_node
        )
        rhythm = Rhythm(ping=settings.ping, spread=settings.ping_spread, pong=settings.pong)
        of_node = (settings, rhythm, self._wheel, self.waiting, self._pressure)
        self.parts = Parts(self._sources, authenticator, seats, operations, *of_node)
        self._connections: dict[Connection, None] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._is_shut = False
        self._is_closed = False
        self._readmission = Readmission(live.namespaces, clock)

    @property
    def sockets(self) -> Sequence[Connection]:
        """The sockets that are open."""
        return tuple(self._connections)

    @property
    def counts(self) -> StreamCounts:
        """What all of them did."""
        return self._sources.counts

    @property
    def connections(self) -> int:
        """How many sockets are open."""
        return len(self._connections)

    def add_to(self, app: web.Application, versions: Sequence[str] = ("v1", "v2")) -> None:
        """Add `/v1/stream` and `/v2/stream`."""
        for version in versions:
            app.router.add_get(f"/{version}/stream", self.handle, allow_head=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Open one socket, which goes on by itself, or refuse the request."""
        seat = offer = None
        try:
            extensions = request.headers.getall("Sec-WebSocket-Extensions", ())
            offer = offer_of(request.headers, extensions, request.version)
            caller = await self.enter(request)
            if caller is not None:
                seat = await self.seat_for(caller)
        except HubError as refused:
            if isinstance(refused, NotNowError) and offer is not None and self._is_page(request):
                return self._send_away(request, offer, refused.after_ms)
            return self.render(request, refused)
        transport = request.transport
        if transport is None or transport.is_closing():
            if seat is not None:
                seat.give_back()
            return web.Response()  # the client left during the handshake: nobody hears it
        self._open(request, transport, offer, caller, seat)
        return HandedOver()

    def _make_gate(self, settings: StreamSettings) -> Gate:
        return Gate(
            self._clock,
            self.counts,
            per_turn=settings.handshakes_per_turn,
            most=settings.handshakes_waiting,
            rate=self._returns_per_second,
            per_second=settings.handshakes_per_second,
            pressure=self._pressure,
        )

    def _is_page(self, request: web.Request) -> bool:
        """Tell whether a request is of a page that may open streams: it sees neither status nor headers of a refusal."""
        try:
            self._check_origin(request)
        except HubError:
            return False
        return "Origin" in request.headers

    def _send_away(self, request: web.Request, offer: Offer, after_ms: int) -> web.StreamResponse:
        """Open a socket only to say when to come back."""
        if request.transport is None or request.transport.is_closing():
            return web.Response()
        self._open(request, request.transport, offer, None, None).announce_restart(after_ms, OVERLOADED)
        return HandedOver()

    async def run(self) -> None:
        """Look at the sockets that are due, and ask again about their credentials."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self._recheck())
            group.create_task(self._give_latest())
            group.create_task(self._readmission.run(self._connections.keys()))
            if self._sources.presence is not None:
                group.create_task(self._sources.presence.listeners.run())

    async def drain(self, deadline: float) -> None:
        """Take no more sockets, close each in its turn, with a `disconnect`; return when all are gone or at `deadline`.

        `deadline` is in monotonic seconds of the hub's clock.
        """
        self._is_shut = True
        self._sources.consumers.stop_leasing()
        await send_away(self.sockets, rate=self._returns_per_second, clock=self._clock, deadline=deadline)
        gone = asyncio.ensure_future(self._is_empty.wait())
        try:
            await ended_within(self._clock, max(0.0, deadline - self._clock.monotonic()), gone)
        finally:
            gone.cancel()

    async def close(self) -> None:
        """End every socket at once; return when their handlers are done."""
        self._is_shut = self._is_closed = True
        self._gate.close()
        for connection in tuple(self._connections):
            connection.outbound.abort()
        await self._is_empty.wait()
        await self._sources.consumers.close()
        if self._sources.openings is not None:
            await self._sources.openings.close()
        await self._sources.log.close()

    async def enter(self, request: web.Request) -> Caller | None:
        """Return who opens a stream, when it is their turn; None where the credential comes by frame. Raises HubError."""
        self._check_open()
        await self._gate.enter(_owner_of(request))
        return await self._admit(request)

    async def seat_for(self, caller: Caller) -> Seat:
        """Return a place among the organisation's connections; raises HubError RATE_LIMIT_EXCEEDED."""
        return await self._seats.take(caller.org_id, caller.limits.concurrent_connections)

    def take(self, connection: Connection) -> None:
        """Look after a connection until it is forgotten."""
        self._connections[connection] = None
        self.counts.opened += 1
        self._is_empty.clear()

    def look_again(self, connection: Connection) -> None:
        """End a connection whose handshake had begun before the drain, or before the end."""
        if self._is_closed:
            connection.outbound.abort()
        elif self._is_shut:
            connection.announce_restart(0)

    def forget(self, connection: Connection) -> None:
        """Let a connection go that has ended."""
        del self._connections[connection]
        if not self._connections:
            self._is_empty.set()

    async def _admit(self, request: web.Request) -> Caller | None:
        """Return the caller of the `Authorization` header or of the ticket; None where the credential comes by frame."""
        self._check_open()
        self._check_origin(request)
        ticket = request.query.get("ticket")
        header = request.headers.get("Authorization")
        if ticket is not None:
            if header is not None:
                raise HubError("BAD_REQUEST", "Send a ticket or an Authorization header, not both")
            return await self._authenticator.stand(await self._tickets.redeem(ticket))
        if header is None:
            return None
        return await self._authenticator.authenticate(credential_of(header))

    def _check_open(self) -> None:
        if self._is_shut:
            raise HubError("SERVICE_UNAVAILABLE", "The node is stopping", retry_after=1)

    def _check_origin(self, request: web.Request) -> None:
        """Refuse pages of other sites (RFC 6455, section 10.2). Programs send no Origin, and pass."""
        origin = request.headers.get("Origin")
        if origin is None:
            return
        # A proxy in front may speak TLS, so for the hub's own host the scheme says nothing.
        is_own = urlsplit(origin).netloc.lower() == request.host.lower() and origin.startswith(("http://", "https://"))
        if not is_own and origin.lower() not in self._origins:
            raise HubError("FORBIDDEN", "Pages of this origin may not open a stream")

    def _open(
        self, request: web.Request, transport: asyncio.Transport, offer: Offer, caller: Caller | None, seat: Seat | None
    ) -> Connection:
        transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        chosen = next((self._wires[name] for name in offer.subprotocols if name in self._wires), None)
        wire, inflation = chosen or self._json, None
        if offer.extensions is not None:
            wire, inflation = self._deflated[wire], Inflation(self.parts.settings.frames.frame_bytes)
        connection = Connection(str(new_id()), Outbound(transport, self.bounds), wire, self.parts, seat)
        self.take(connection)
        socket = Socket(transport, connection, self.forget, inflation, self.counts.inbound)
        early = take_over(request, transport, socket)
        answer = acceptance(offer, None if chosen is None else chosen.subprotocol)
        if caller is None:
            connection.outbound.write(answer)
        else:
            connection.welcome(caller, after=answer)
        self.look_again(connection)
        if early:
            socket.data_received(early)
        return connection

    async def _give_latest(self) -> None:
        """Look again and again at those who could not read the newest of a room."""
        latest = self._sources.fanout.latest
        while True:
            await latest.waits.wait()
            pause = SLOWED_LATEST_SECONDS if self._pressure.gives_up(Part.LATEST) else LATEST_SECONDS
            await self._clock.sleep(0 if latest.turn() else pause)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_SECONDS)
            for index, connection in enumerate(self._wheel.take(self._clock.monotonic()), 1):
                connection.tick()
                if index % SLICE == 0:
                    await self._clock.sleep(0)

    async def _recheck(self) -> None:
        """Ask about every credential of an open socket once a second, all together; what it lost, its sockets lose."""
        while True:
            await self._clock.sleep(RECHECK_SECONDS)
            # By identity, which is quick; one answer is many connections' caller.
            callers = {id(each.caller): each.caller for each in self._connections if each.caller is not None}
            references = {caller.reference for caller in callers.values() if caller.reference is not None}
            try:
                answers = await self._authenticator.check(references)
            except HubError as refused:
                structlog.get_logger().warning("credentials_not_rechecked", code=refused.code)
            else:
                await self._settle(callers.values(), answers)

    async def _settle(self, callers: Iterable[Caller], answers: Mapping[Reference, Caller | HubError]) -> None:
        """Tell what has changed to those whom it concerns; mostly nobody."""
        news: dict[int, Caller | HubError] = {}
        for caller in callers:
            answer = None if caller.reference is None else answers.get(caller.reference)
            if answer is not None and answer != caller:
                news[id(caller)] = answer
        if not news:
            return
        for index, connection in enumerate(tuple(self._connections), 1):
            # Asked now: an `authenticate` may have renewed the credential meanwhile, and then it has another caller.
            if (answer := news.get(id(connection.caller))) is not None:
                connection.on_checked(answer)
            if index % SLICE == 0:
                await self._clock.sleep(0)


def _owner_of(request: web.Request) -> str:
    """Return who a handshake says it is of, before anybody has checked that: its credential, or where it comes from."""
    return request.headers.get("Authorization") or request.remote or ""


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
