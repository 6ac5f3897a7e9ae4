"""What the root puts together: doors, and what works beside the others."""

from collections.abc import Coroutine
from typing import Any, Protocol

from aiohttp import web


class Door(Protocol):
    """What adds its paths to the application."""

    def add_to(self, app: web.Application) -> None:
        """Add them."""
        ...


class Runs(Protocol):
    """What works beside the others until it is cancelled."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Work."""
        ...
