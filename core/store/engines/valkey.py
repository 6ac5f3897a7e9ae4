"""Valkey of the embedded pair: what is in flight, kept on disk with at most a second's loss when the machine fails."""

import signal
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from core.store.engines.answers import valkey_answers
from core.store.engines.engine import Engine
from core.store.engines.layout import Layout
from core.store.engines.programs import Programs

_SETTINGS = {
    "--port": "0",  # the socket only
    "--unixsocketperm": "700",
    "--appendonly": "yes",
    "--appendfsync": "everysec",
    "--save": "",
    "--always-show-logo": "no",
}


def redis_url(layout: Layout) -> str:
    """Return the address of the socket."""
    return f"unix://{quote(str(layout.valkey_socket), safe='/')}"


def valkey_engine(layout: Layout, programs: Programs, say: Callable[[str], None]) -> Engine:
    """Return the engine; its folder exists."""
    settings = {**_SETTINGS, "--unixsocket": str(layout.valkey_socket), "--dir": str(layout.valkey)}
    return Engine(
        name="valkey",
        program="valkey-server",
        command=[programs.valkey, *(part for item in settings.items() for part in item)],
        folder=layout.valkey,
        stop_signal=signal.SIGTERM,
        answers=partial(valkey_answers, layout.valkey_socket),
        layout=layout,
        say=say,
    )
