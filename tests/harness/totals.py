"""The ledger of a run with faults: what all readers were told, and those of each kind."""

from dataclasses import dataclass, field, fields


@dataclass
class Counts:
    """What readers were told. `connections` are only of those that are counted by how they come."""

    readers: int = 0
    connections: int = 0
    received: int = 0
    recovered: int = 0
    resets: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    foreign: int = 0

    def count(self, other: "Counts") -> None:
        """Add what others were told."""
        for each in fields(Counts):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def wrong(self) -> tuple[int, int, int, int]:
        """What is 0 each, where the hub has kept its promises: lost, doubled, disordered, foreign."""
        return self.lost, self.doubled, self.disordered, self.foreign


@dataclass
class Totals(Counts):
    """A run's, summed over every reader; `kinds` has the same of the readers of each kind.

    A reader is counted by how it comes, and each of its channels by how that is viewed, besides.
    """

    schedules: int = 0
    faults: int = 0
    sent: int = 0
    uncertain: int = 0
    kinds: dict[str, Counts] = field(default_factory=dict[str, Counts])

    def add(self, other: "Totals") -> None:
        """Add another run's."""
        self.count(other)
        self.schedules += other.schedules
        self.faults += other.faults
        self.sent += other.sent
        self.uncertain += other.uncertain
        for kind, counts in other.kinds.items():
            self.of(kind).count(counts)

    def of(self, kind: str) -> Counts:
        """Return those of a kind."""
        return self.kinds.setdefault(kind, Counts())

    def lines(self) -> str:
        """Return it for a person."""
        names = [each.name for each in fields(Counts)]
        own = [f"{name:>12} {getattr(self, name):>12,}" for name in ("schedules", "faults", "sent", "uncertain")]
        head = f"{'':>20}" + "".join(f"{name:>13}" for name in names)
        rows = {"all": self, **dict(sorted(self.kinds.items()))}
        return "\n".join([*own, head, *(_row(name, counts, names) for name, counts in rows.items())])


def _row(kind: str, counts: Counts, names: list[str]) -> str:
    return f"{kind:>20}" + "".join(f"{getattr(counts, name):>13,}" for name in names)
