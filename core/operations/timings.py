"""How long operations took, by name and outcome."""

from core.histogram import Histogram


class Timings:
    """Filled by the runner; `by_operation` is read by whoever shows it."""

    def __init__(self) -> None:
        self.by_operation: dict[tuple[str, str], Histogram] = {}

    def note(self, operation: str, outcome: str, seconds: float) -> None:
        """Count one run; `outcome` is `ok`, an error's code, or `CANCELLED`."""
        histogram = self.by_operation.get((operation, outcome))
        if histogram is None:
            histogram = self.by_operation[operation, outcome] = Histogram()
        histogram.add(seconds)
