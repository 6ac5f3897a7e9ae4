"""What code that runs SQL may ask of a connection."""

from typing import Any, Protocol


class Statements(Protocol):
    """A connection that speaks for one organisation: the subset of asyncpg's methods that the hub uses."""

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Return all rows."""
        ...

    async def fetchrow(self, query: str, *args: object) -> Any:
        """Return the first row or None."""
        ...

    async def fetchval(self, query: str, *args: object) -> Any:
        """Return the first column of the first row or None."""
        ...

    async def execute(self, query: str, *args: object) -> str:
        """Return the command tag; without arguments the text may hold several statements."""
        ...
