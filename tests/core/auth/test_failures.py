"""The bound on wrong credentials of one address."""

import pytest

from core.auth.failures import MOST_AT_ONCE, Failures
from tests.harness.clock import ManualClock


async def test_failures_over_the_bound_are_told_when_the_next_is_counted(clock: ManualClock):
    """So many at once, then one a second; each address by itself."""
    failures = Failures(clock)
    assert [failures.count("192.0.2.1") for _ in range(MOST_AT_ONCE)] == [None] * MOST_AT_ONCE
    assert failures.count("192.0.2.1") == 1
    assert failures.count("192.0.2.2") is None
    await clock.advance(1)
    assert failures.count("192.0.2.1") is None
    assert failures.count("192.0.2.1") == 1
    await clock.advance(MOST_AT_ONCE)
    assert [failures.count("192.0.2.1") for _ in range(MOST_AT_ONCE)] == [None] * MOST_AT_ONCE


@pytest.mark.parametrize(
    ("first", "second"),
    [("2001:db8::1", "2001:db8::ffff:1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::2")],
)
async def test_addresses_of_one_client_are_one(clock: ManualClock, first: str, second: str):
    """A /64 of IPv6; and IPv4 however it is written."""
    failures = Failures(clock)
    assert [failures.count(first) for _ in range(MOST_AT_ONCE)] == [None] * MOST_AT_ONCE
    assert failures.count(second) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "", "unknown"])
async def test_this_machine_and_what_is_no_address_are_not_bounded(clock: ManualClock, address: str):
    """A proxy that is not named would be everybody."""
    failures = Failures(clock)
    assert {failures.count(address) for _ in range(2 * MOST_AT_ONCE)} == {None}


async def test_memory_is_bounded(clock: ManualClock):
    """Who comes from many addresses is forgotten, not kept."""
    failures = Failures(clock, size=2)
    for number in range(MOST_AT_ONCE + 1):
        failures.count("192.0.2.1")
        failures.count(f"198.51.100.{number}")
    assert failures.count("192.0.2.1") is not None
    for number in range(3):
        failures.count(f"203.0.113.{number}")
    assert failures.count("192.0.2.1") is None
