"""How long queries took, as counts that add up: of any hours, quantiles are known to 9%. No I/O."""

import math
from collections.abc import Sequence
from itertools import accumulate

# Four a doubling, from 0.25 ms to the 30 s that an operation has and beyond; each column of `times` has so many.
PER_DOUBLING = 4
LEAST_MS = 0.25
COUNT = 72


def column_of(milliseconds: float) -> int:
    """Return the column that a duration is counted in: the first whose upper bound it does not pass."""
    if milliseconds <= LEAST_MS:
        return 0
    return min(math.ceil(PER_DOUBLING * math.log2(milliseconds / LEAST_MS) - 1e-9), COUNT - 1)


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return what `share` (0 to 1) of all durations took at most, in ms: the middle of its column; None where nothing is counted.

    The nearest rank, as `percentile_disc` of SQL.
    """
    total = sum(counts)
    if not total:
        return None
    rank = max(1, math.ceil(share * total))
    column = next(place for place, below in enumerate(accumulate(counts)) if below >= rank)
    # The middle by ratio, so that the error is the same either way.
    middle = column - 0.5 if column else 0.0
    return round(LEAST_MS * 2 ** (middle / PER_DOUBLING), 3)
