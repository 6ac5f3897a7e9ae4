"""Ids as text: one name for each, whatever Python's UUID would take."""

from uuid import UUID

import pytest

from core.ids import new_id, parse_id

ID = "01a20cb4-6990-7770-be21-88000333812e"
BARE = ID.replace("-", "")


def test_id_is_read_in_either_case():
    """RFC 9562, section 4: output is lower case, input is not sensitive to it."""
    made = new_id()
    assert parse_id(str(made)) == made
    assert parse_id(ID.upper()) == UUID(ID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        BARE,
        f"{BARE}----",
        f"----{BARE}",
        f"urn:{BARE}",
        f"{{{BARE}--}}",
        ID.replace("-", "_"),
        f"0x{ID[2:]}",
        f"{ID}\n",
    ],
)
def test_other_spellings_are_no_ids(text: str):
    """A resource has one address, so what is said of it in logs, caches and rules is said of it alone."""
    assert parse_id(text) is None
