"""How long a stock feels a change: until its backlog is that of before, and the stock is back at its former mean."""


class Recovery:
    """Watched from the begin of the first change on.

    It can be over once the last change has ended (or, where one lasts for ever, has begun) and what was on order then is there:
    a delay is felt only when goods do not come. Who never ran short has recovered in no time.
    """

    # Parts of an order add up to nearly it.
    _DUST = 1e-6
    __slots__ = ("_awaited", "_backlog", "_begin", "_may_end", "_mean", "_suffered", "_until")

    def __init__(self, begin: float, mean: float, backlog: float) -> None:
        self._begin = begin
        self._mean = mean
        self._backlog = backlog
        self._awaited = 0.0
        self._may_end = self._suffered = False
        self._until: float | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether all is as it was before."""
        return self._until is not None

    def suffer(self) -> None:
        """Something was wanted that was not there."""
        if self._until is None:
            self._suffered = True

    def may_end(self, awaited: float) -> None:
        """The last change is over, and so many units are on order."""
        self._may_end = True
        self._awaited = awaited

    def arrived(self, units: float) -> None:
        """So many units have come."""
        self._awaited -= units

    def see(self, time: float, stock: float, backlog: float) -> None:
        """Take it as over if stock and backlog are as they were."""
        is_as_before = stock >= self._mean and backlog <= self._backlog
        if is_as_before and self._may_end and self._until is None and self._awaited <= self._DUST:
            self._until = time

    def lasted(self, now: float) -> float:
        """Return how long, at most until now."""
        if not self._suffered:
            return 0.0
        return (now if self._until is None else self._until) - self._begin
