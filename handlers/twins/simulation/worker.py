"""One process that simulates: `python -m handlers.twins.simulation.worker`.

To it: ["run", case (JSON), horizon, seed, first run, runs]. Back: for each run ["ran", run, indicators, series, notable, steps],
then ["done", is_last], or ["failed", code, message, is_last]. Of series those that are told, each as the bytes of its doubles.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from core.processes.serving import Peak, serve
from handlers.twins.simulation.engine import replicate
from handlers.twins.simulation.model import Case
from handlers.twins.simulation.replication import MOST_SERIES, SimulationError
from handlers.twins.simulation.samples import SAMPLES


def _load() -> None:
    """Load all that is otherwise loaded when it is first needed: no file can be opened later."""
    for sample in SAMPLES:
        replicate(Case(model=sample.model), horizon=sample.model.horizon, seed=0, run=0)


@lru_cache(maxsize=4)
def _case(text: bytes) -> Case:
    return Case.model_validate_json(text)


def _packed(series: Mapping[str, Sequence[float]]) -> dict[str, bytes]:
    return {name: array("d", values).tobytes() for name, values in islice(series.items(), MOST_SERIES)}


def _answer(message: list[Any], peak: Peak) -> Iterator[list[Any]]:
    _, text, horizon, seed, first, runs = message
    try:
        case = _case(text)
        for run in range(first, first + runs):
            made = replicate(case, horizon=horizon, seed=seed, run=run)
            notable = [[each.time, each.what, each.node, each.value] for each in made.notable]
            yield ["ran", made.run, made.indicators, _packed(made.series), notable, made.steps]
    except SimulationError as error:
        yield ["failed", error.code, error.message, False]
    except MemoryError:
        yield ["failed", "LIMIT_EXCEEDED", "A run takes more memory than it may", True]
    else:
        yield ["done", peak()]


if __name__ == "__main__":
    serve(_load, _answer)
