"""Ids as text: one name for each, whatever Python's UUID would take."""

import multiprocessing
from uuid import UUID

import pytest

from core.ids import new_id, parse_id, random_bytes

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


def test_random_bytes_are_given_once():
    """Blocks are cut without an overlap, whatever is left of one."""
    given = [random_bytes(13) for _ in range(1_000)]
    assert {len(each) for each in given} == {13}
    assert len(set(given)) == 1_000


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_fork_gives_other_bytes():
    """Two processes never make the same id out of one block."""
    random_bytes(1)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(random_bytes, (16,)) != random_bytes(16)
