"""docs/operating.md has the metrics of subscriptions that a node has."""

import re
from pathlib import Path

from hub.insight.merged import LARGEST
from hub.insight.metrics import SUBSCRIPTION_GAUGES

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def test_every_figure_of_subscriptions_is_documented():
    """And of several workers, which all see the same, one counts."""
    told = set(re.findall(r"`(hub_subscription[a-z_]*?)(?:_total)?(?:\{\w+\})?`", PAGE.read_text()))
    names = {name for name, _, _ in SUBSCRIPTION_GAUGES}
    assert told == names | {"hub_subscription_events"}
    assert names <= LARGEST
