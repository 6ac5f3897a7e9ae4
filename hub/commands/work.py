"""`work`: do jobs in this process, without serving; until SIGTERM, SIGINT, or what it cannot do without has died."""

import argparse
import asyncio
import signal
from contextlib import AsyncExitStack

from core.clock import SystemClock
from core.settings import Settings
from core.store.database import Database
from core.store.migrate import installation_secret, migrate
from core.store.redis import connect_redis
from handlers.models.providers import Models
from hub.agents import AgentParts
from hub.background import Background
from hub.engines import engines_of
from hub.jobs import JobParts, joined_work
from hub.knowledge import KnowledgeParts
from hub.pokes import follow, hear
from hub.process import Process
from hub.spaces import SpaceParts
from hub.standard_streams import say
from hub.stream.fanout import Fanout
from hub.twins import TwinParts
from rooms.live import LiveRooms
from rooms.switch import Switch


async def run(settings: Settings, _arguments: argparse.Namespace) -> int:
    """Work; returns 0 after a drain, 1 when it had to give up."""
    ending: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.put_nowait, "")
    process = Process(SystemClock())
    async with AsyncExitStack() as stack:
        parts = await _begin(settings, process, Background(ending.put_nowait), stack)
        say("AIMatrix Hub does jobs")
        with process.watched():
            died = await ending.get()
        # A second signal does not wait for the jobs: they go back at once.
        draining, again = asyncio.create_task(parts.drain(settings.drain)), asyncio.create_task(ending.get())
        await asyncio.wait((draining, again), return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        if not draining.done():
            await parts.drain(0)
            await draining
    return 1 if died else 0


async def _begin(settings: Settings, process: Process, background: Background, stack: AsyncExitStack) -> JobParts:
    """Start the workers; `stack` ends each part before what it uses."""
    clock = process.clock
    addresses = await stack.enter_async_context(engines_of(settings))
    await migrate(addresses.database_url)
    secret = settings.secret or await installation_secret(addresses.database_url)
    database = Database(addresses.database_url, role="hub_app")
    await database.open()
    stack.push_async_callback(database.close)
    redis = connect_redis(addresses.redis_url)
    stack.push_async_callback(redis.aclose)
    # Events wait for the relay's own look, a second at most: this process has none to poke.
    models = Models(settings, clock)
    stack.push_async_callback(models.close)
    knowledge = KnowledgeParts(settings, database, models, clock, poke=lambda: None)
    stack.push_async_callback(knowledge.close)
    # It publishes into live rooms, and hears none.
    spaces = SpaceParts(settings, database, redis, clock)
    stack.push_async_callback(spaces.close)
    await spaces.load()
    live = LiveRooms(spaces.store, switch=Switch(addresses.redis_url, clock=clock), clock=clock, sink=Fanout())
    stack.push_async_callback(live.close)
    agents = AgentParts(settings, database, live, knowledge.retriever, models, secret, clock, poke=lambda: None)
    stack.push_async_callback(agents.close)
    twins = TwinParts(settings, database, live, clock, poke=lambda: None)
    stack.push_async_callback(twins.close)
    more = joined_work(knowledge.work, agents.work, twins.work)
    parts = JobParts(addresses.database_url, database, redis, clock, does_jobs=True, more=more)
    stack.push_async_callback(parts.close)
    heard = await hear(addresses.redis_url, clock, parts.pokes, *spaces.pokes)
    stack.push_async_callback(heard.close)
    stack.push_async_callback(background.stop)
    background.start("pokes", follow(heard, parts.pokes, *spaces.pokes))
    background.start("live", live.run())
    for name, part in {**parts.working, **spaces.running}.items():
        background.start(name, part.run())
    return parts
