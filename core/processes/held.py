"""What the hub holds of a confined process, whatever work it does: what pools ask of it."""

from core.processes.child import Child


class Held:
    """A process, for one piece of work at a time; one that was interrupted in it must be killed."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._child.pid

    @property
    def is_usable(self) -> bool:
        """Whether it can be given more work."""
        return self._child.is_usable

    async def kill(self) -> None:
        """End it, whatever it does; returns when it has gone."""
        await self._child.kill()
