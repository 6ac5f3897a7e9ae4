"""What /metrics and /healthz tell of a node's pressure."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from core.pressure import Part, Pressure
from hub.overload.watch import names_upto

_PARTS = [part for part in Part if part is not Part.NONE]


def metrics_of(pressure: Pressure) -> Iterable[Metric]:
    """Return the families."""
    yield GaugeMetricFamily(
        "hub_pressure_level",
        "What is given up: 0 nothing, 1 debug, 2 presence too, 3 latest, 4 joins, 5 publishes.",
        value=int(pressure.level),
    )
    shares = GaugeMetricFamily(
        "hub_pressure", "Each measure, as a part of its mark; at 1 joins are refused.", labels=["measure"]
    )
    for name, value in pressure.values.items():
        shares.add_metric([name], value)
    yield shares
    entered = CounterMetricFamily("hub_pressure_entered", "Times that a part was given up.", labels=["part"])
    refused = CounterMetricFamily("hub_pressure_refused", "What was refused for it.", labels=["part"])
    for part in _PARTS:
        entered.add_metric([part.name.lower()], pressure.entered[part])
        refused.add_metric([part.name.lower()], pressure.refused[part])
    yield entered
    yield refused


def shown(pressure: Pressure) -> Mapping[str, Any]:
    """Return what stands in /healthz."""
    return {
        "gives_up": names_upto(pressure.level),
        "measures": {name: round(value, 3) for name, value in pressure.values.items()},
    }
