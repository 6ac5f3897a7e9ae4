"""What holds for whoever comes in, whichever door it is: HTTPS only, other origins' pages, and how the node is."""

from collections.abc import Callable
from functools import partial

from aiohttp import web

from core.clock import Clock
from core.errors import HubError
from core.pressure import Pressure
from core.settings import Settings
from core.store.database import Database
from core.store.redis import Redis
from hub.cors import Cors
from hub.health import HealthDoor
from hub.https_only import HttpsOnly
from hub.tls import TlsListener, tls_context
from rooms.feed import Feeds


def tls_of(settings: Settings, clock: Clock) -> Callable[..., TlsListener] | None:
    """Return what accepts where the hub's address speaks TLS, None where it does not; raises SettingsError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return partial(TlsListener, context=tls_context(settings.tls_cert, settings.tls_key), clock=clock)


def add_rules(
    app: web.Application, settings: Settings, render: Callable[[web.Request, HubError], web.StreamResponse]
) -> None:
    """Put the rules that are configured before every handler of `app`; without any, requests pay nothing."""
    if settings.https_only:
        HttpsOnly(settings.trusted_proxies, render, settings.public_url).add_to(app)
    if settings.origins:
        Cors(settings.origins).add_to(app)


def health_of(database: Database, redis: Redis, feeds: Feeds, clock: Clock, pressure: Pressure) -> HealthDoor:
    """Return the door that tells how what the node stands on is."""

    async def ask_database() -> None:
        async with database.unbound() as db:
            await db.fetchval("SELECT 1")

    async def ask_feed() -> None:
        if not feeds.connected:
            raise HubError("SERVICE_UNAVAILABLE")

    return HealthDoor({"database": ask_database, "redis": redis.ping, "feed": ask_feed}, clock, pressure)
