"""docs/protocol.md says what the code says."""

import re

from core.errors import CATALOGUE
from hub.stream.codes import ALL_CODES
from hub.stream.protocol import CLIENT_FRAMES
from hub.stream.reference import PAGE, brought_up_to_date


def test_tables_are_current():
    """Run `python -m hub.stream.reference` after a change of a code."""
    page = PAGE.read_text()
    assert brought_up_to_date(page) == page


def test_every_code_is_documented():
    """Both lists, whole."""
    page = PAGE.read_text()
    assert all(f"| {each.code} |" in page for each in ALL_CODES)
    assert all(f"| `{code}` |" in page for code in CATALOGUE)


def test_every_client_frame_is_documented():
    """A type that the protocol takes stands in the table, and no other."""
    section = PAGE.read_text().partition("## Frames of the client")[2].partition("## Channels")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == list(CLIENT_FRAMES)
