"""What can happen to the connections of a crowd, each drawn from `rng`; what lasts is healed when all rest."""

import random
from collections.abc import Mapping, Sequence

from tests.harness.proxy import FaultProxy, ProxiedConnection
from tests.harness.redis_faults import Fault
from tests.harness.waiting import let_pass


class NetworkFaults:
    """Of the gates that a crowd comes through."""

    def __init__(self, gates: Sequence[FaultProxy], rng: random.Random) -> None:
        self._gates = gates
        self._rng = rng

    def by_name(self) -> Mapping[str, Fault]:
        """Return all of them."""
        found = [
            self.one_is_cut,
            self.one_ends_in_a_frame,
            self.one_stalls,
            self.one_falls_silent,
            self.one_is_slow,
            self.one_is_late,
            self.all_are_cut,
            self.a_gate_is_shut,
            self.nothing_happens,
        ]
        return {each.__name__: each for each in found}

    async def one_is_cut(self) -> None:
        """A connection is gone."""
        for connection in self._some():
            connection.cut(self._rng.choice(("rst", "fin")))

    async def one_ends_in_a_frame(self) -> None:
        """A connection ends after so many bytes more, wherever that is; so does the next one."""
        for connection in self._some():
            connection.down.cut_after(self._rng.randrange(1, 2000), self._rng.choice(("rst", "fin")))
            if self._rng.random() < 0.3:
                connection.up.cut_after(self._rng.randrange(1, 200))

    async def one_stalls(self) -> None:
        """Nothing arrives for a while, then all of it."""
        for connection in self._some():
            ways = self._rng.choice(((connection.down,), (connection.up,), (connection.down, connection.up)))
            for way in ways:
                way.freeze()
            await let_pass(self._rng.uniform(0.02, 0.4))
            for way in ways:
                way.thaw()

    async def one_falls_silent(self) -> None:
        """A half-open connection: nothing arrives, nothing ends; the client must notice."""
        for connection in self._some():
            connection.down.freeze()
            connection.up.freeze()

    async def one_is_slow(self) -> None:
        """A thousand bytes a second."""
        for connection in self._some():
            connection.down.rate = 1000
            await let_pass(self._rng.uniform(0.05, 0.4))
            connection.down.rate = None

    async def one_is_late(self) -> None:
        """Every piece arrives later."""
        for connection in self._some():
            connection.down.delay = connection.up.delay = self._rng.uniform(0.001, 0.05)

    async def all_are_cut(self) -> None:
        """All come back at once."""
        for gate in self._gates:
            gate.cut_all(self._rng.choice(("rst", "fin")))

    async def a_gate_is_shut(self) -> None:
        """A node cannot be reached; its connections are gone."""
        gate = self._rng.choice(self._gates)
        await gate.refuse()
        gate.cut_all()
        await let_pass(self._rng.uniform(0.02, 0.3))
        await gate.accept()

    async def nothing_happens(self) -> None:
        """A while without a fault."""
        await let_pass(self._rng.uniform(0.05, 0.3))

    def heal(self) -> None:
        """Let everything through again."""
        for gate in self._gates:
            gate.on_connect = None
            for connection in gate.alive:
                for way in (connection.up, connection.down):
                    way.rate, way.delay = None, 0.0
                    way.thaw()

    def _some(self) -> list[ProxiedConnection]:
        alive = [connection for gate in self._gates for connection in gate.alive]
        return [self._rng.choice(alive)] if alive else []
