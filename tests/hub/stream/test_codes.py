"""Close codes are a documented list whose ranges say whether a client comes back."""

import pytest

from hub.stream.codes import ALL_CODES, MAX_REASON_BYTES, OF_THE_STREAM, CloseCode, comes_back


def test_codes_are_unique():
    """A code has one meaning."""
    assert len({each.code for each in ALL_CODES}) == len(ALL_CODES)


@pytest.mark.parametrize("each", ALL_CODES, ids=lambda each: str(each.code))
def test_reason_fits_a_control_frame(each: CloseCode):
    """RFC 6455, section 5.5: 125 bytes, two of them for the code."""
    assert len(each.reason.encode()) <= MAX_REASON_BYTES


@pytest.mark.parametrize("each", OF_THE_STREAM, ids=lambda each: str(each.code))
def test_code_of_the_stream_is_private(each: CloseCode):
    """RFC 6455, section 7.4.2: 4000-4999 are for private use."""
    assert 4000 <= each.code <= 4999
    assert each.reason
    assert each.when
    assert each.client


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (3000, True),
        (3499, True),
        (3500, False),
        (3999, False),
        (4000, True),
        (4499, True),
        (4500, False),
        (4999, False),
    ],
)
def test_range_says_whether_to_come_back(code: int, expected: bool):
    """An old client copes with a code that it does not know."""
    assert comes_back(code) is expected


@pytest.mark.parametrize(("code", "expected"), [(1000, False), (1001, True), (1006, True), (1009, False), (1011, True)])
def test_standard_code_says_whether_to_come_back(code: int, expected: bool):
    """A lost or broken connection comes back; what the client itself did or must mend does not."""
    assert comes_back(code) is expected
