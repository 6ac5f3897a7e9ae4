"""Counts of several workers as those of one."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hub.insight.merged import Part, merged, packed


def gauge(name: str, value: float, **labels: str) -> Metric:
    made = GaugeMetricFamily(name, "Of a test.", labels=list(labels))
    made.add_metric(list(labels.values()), value)
    return made


def counter(name: str, value: float, **labels: str) -> Metric:
    made = CounterMetricFamily(name, "Of a test.", labels=list(labels))
    made.add_metric(list(labels.values()), value)
    return made


def part(worker: int, *metrics: Metric, leaving: bool = False, fresh: bool = True) -> Part:
    return Part(worker, leaving=leaving, fresh=fresh, body=packed(metrics))


def samples(*parts: Part) -> dict[str, float]:
    """Return what came of them by name and labels."""
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for each in merged(parts).metrics()
        for sample in each.samples
    }


def test_counters_and_gauges_are_summed_by_label():
    """The same labels, one sum; what only one has is there."""
    seen = samples(
        part(0, counter("a", 1, code="x"), gauge("b", 2)),
        part(1, counter("a", 2, code="x"), counter("a", 4, code="y"), gauge("b", 3)),
    )
    assert seen == {"a_total{x}": 3, "a_total{y}": 4, "b": 5}


def test_what_is_no_sum_is_the_largest_or_the_least():
    """Two nodes see two nodes, not four; one that lost Redis is seen."""
    parts = [part(n, gauge("hub_nodes", 2), gauge("hub_redis_connected", n), gauge("x_info", 1)) for n in (0, 1)]
    assert samples(*parts) == {"hub_nodes": 2, "hub_redis_connected": 0, "x_info": 1}


def test_of_one_that_does_not_answer_only_what_it_had_counted_counts():
    """Its gauges were of another time."""
    silent = part(1, counter("a", 5), gauge("b", 5), gauge("process_open_fds", 9), fresh=False)
    assert samples(part(0, counter("a", 1), gauge("b", 1)), silent) == {"a_total": 6, "b": 1}


def test_process_is_of_who_stays_in_a_place():
    """A place has one series, also while one leaves it and the next is there."""
    seen = samples(part(0, gauge("process_open_fds", 9)), part(0, gauge("process_open_fds", 7), leaving=True))
    assert seen == {"process_open_fds{0}": 9}


def test_streams_are_shown_by_place():
    """Of who leaves too."""
    parts = [
        part(0, gauge("hub_connections", 3), leaving=True),
        part(0, gauge("hub_connections", 1)),
        part(1, gauge("hub_connections", 2)),
    ]
    assert samples(*parts) == {"hub_connections": 6, "hub_worker_connections{0}": 4, "hub_worker_connections{1}": 2}


def test_what_another_release_writes_is_passed_over():
    """No answer is better than none at all."""
    assert samples(part(0, gauge("b", 1)), Part(1, leaving=False, fresh=True, body=b"[1]")) == {"b": 1}
