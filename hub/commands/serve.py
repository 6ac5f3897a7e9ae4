"""`serve`: one node in this process, or several by a parent; until SIGTERM, SIGINT, or what it cannot do without has died."""

import argparse
import asyncio
import os
import signal
from functools import partial
from typing import Any, NoReturn

import structlog

from core.clock import SystemClock
from core.deadline import end_tasks
from core.settings import Settings
from hub.commands.welcome import welcome
from hub.hangup import Terminal, take_hangups
from hub.main import Hub
from hub.open_files import raise_open_files
from hub.process import Process
from hub.standard_streams import say
from hub.workers.addresses import listen_for
from hub.workers.plan import Plan, become_parent


async def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve; returns 0 after a drain, 1 when the node had to give up."""
    raise_open_files()
    ending: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.put_nowait, "")
    take_hangups(Terminal(), _go_on, partial(ending.put_nowait, ""))
    process = Process(SystemClock())
    hub = Hub(settings, process.clock, ending.put_nowait, pauses=process.pauses)
    starting = asyncio.create_task(hub.start())
    waiting = asyncio.create_task(ending.get())
    await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        await _abandon(starting)
        return 0
    await starting
    say(welcome(hub.url, hub.key_file and str(hub.key_file)))
    with process.watched():
        died = await waiting
    # A second signal does not wait for the sockets.
    stopping = asyncio.create_task(hub.stop())
    again = asyncio.create_task(ending.get())
    await asyncio.wait((stopping, again), return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await _abandon(stopping)
        return 1
    again.cancel()
    await stopping
    return 1 if died else 0


def with_workers(settings: Settings, count: int) -> NoReturn:
    """Become the parent of `count` workers. Raises OSError where the address is taken."""
    # The workers read their settings from the environment, which they have of this process.
    os.environ["HUB_JOBS"] = str(settings.jobs)
    sockets = listen_for(count, settings.host, settings.port)
    plan = Plan(
        sockets=[[each.fileno() for each in place] for place in sockets],
        engines=settings.database_url is None or settings.redis_url is None,
        data=str(settings.data),
        engine_user=settings.engine_user,
        log=settings.log,
        drain=settings.drain,
    )
    become_parent(plan, sockets)


def _go_on() -> None:
    structlog.get_logger().warning("hangup_ignored", reason="one process cannot replace itself: serve --workers does")


async def _abandon(task: asyncio.Task[Any]) -> None:
    await end_tasks([task])
