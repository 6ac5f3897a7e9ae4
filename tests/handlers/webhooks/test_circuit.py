"""What an endpoint is sent at once: more and more while it is well, one probe at a time while it is not."""

import pytest

from handlers.webhooks.circuit import FAILURES, FIRST_SECONDS, LIMIT_AT_FIRST, LONGEST_SECONDS, MOST_AT_ONCE, Circuit


def _circuit() -> Circuit:
    return Circuit(spread=lambda: 0.5)


def _opened(now: float = 0.0) -> Circuit:
    circuit = _circuit()
    for _ in range(FAILURES):
        circuit.failed(now)
    return circuit


def test_new_endpoint_gets_a_few_at_once():
    """What is on its way counts."""
    assert [_circuit().room(0, in_flight) for in_flight in (0, 1, LIMIT_AT_FIRST, 10)] == [LIMIT_AT_FIRST, 3, 0, 0]


def test_each_success_lets_one_more_be_sent_up_to_a_bound():
    """One that answers is trusted with more."""
    circuit = _circuit()
    for _ in range(100):
        circuit.succeeded()
    assert circuit.room(0, 0) == MOST_AT_ONCE


def test_failure_halves_what_is_sent_at_once_but_leaves_one():
    """Else a single failure would end it."""
    circuit = _circuit()
    circuit.failed(0)
    assert circuit.room(0, 0) == LIMIT_AT_FIRST // 2
    circuit.failed(0)
    circuit.failed(0)
    assert circuit.room(0, 0) == 1


def test_failures_in_a_row_open_the_circuit():
    """A success between them begins the count anew."""
    circuit = _circuit()
    for _ in range(FAILURES - 1):
        circuit.failed(0)
    circuit.succeeded()
    circuit.failed(0)
    assert circuit.state(0) == "closed"
    assert _opened().state(0) == "open"
    assert _opened().room(0, 0) == 0


def test_after_its_time_one_probe_is_sent():
    """And no second one beside it."""
    circuit = _opened()
    assert circuit.state(FIRST_SECONDS - 0.1) == "open"
    assert circuit.state(FIRST_SECONDS) == "half_open"
    assert (circuit.room(FIRST_SECONDS, 0), circuit.room(FIRST_SECONDS, 1)) == (1, 0)
    assert circuit.next_at(0) == FIRST_SECONDS


def test_probe_that_fails_opens_for_twice_as_long_up_to_a_bound():
    """So a dead endpoint is asked once a minute."""
    circuit, now, waits = _opened(), 0.0, list[float]()
    for _ in range(6):
        waits.append(circuit.next_at(now) - now)
        now = circuit.next_at(now)
        circuit.failed(now)
    assert waits == [5, 10, 20, 40, LONGEST_SECONDS, LONGEST_SECONDS]


def test_probe_that_succeeds_closes_and_begins_small():
    """What has been dead is not flooded; the next outage opens for the first, short time."""
    circuit = _opened()
    circuit.failed(FIRST_SECONDS)
    circuit.succeeded()
    assert (circuit.state(20), circuit.room(20, 0)) == ("closed", 2)
    for _ in range(FAILURES):
        circuit.failed(20)
    assert circuit.next_at(20) == 20 + FIRST_SECONDS


def test_failure_from_before_it_opened_changes_nothing():
    """Those that hung together end together."""
    circuit = _opened()
    for _ in range(20):
        circuit.failed(1)
    assert circuit.next_at(1) == FIRST_SECONDS


def test_pause_that_was_asked_for_is_kept():
    """Also by a circuit that is closed; it is no failure more."""
    circuit = _circuit()
    circuit.pause(0, 30)
    circuit.pause(0, 10)
    assert (circuit.room(29.9, 0), circuit.room(30, 0)) == (0, LIMIT_AT_FIRST)
    assert circuit.next_at(0) == 30


def test_endpoints_that_failed_together_do_not_come_back_together():
    """The time is spread by a fifth to either side."""
    low, high = Circuit(spread=lambda: 0.0), Circuit(spread=lambda: 1.0)
    for _ in range(FAILURES):
        low.failed(0)
        high.failed(0)
    assert (low.next_at(0), high.next_at(0)) == pytest.approx((0.8 * FIRST_SECONDS, 1.2 * FIRST_SECONDS))
