"""API keys: their form, what is stored, and the commands on them."""

import zlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.auth.caller import ALL_SCOPES
from core.auth.keys import KEY_LENGTH, create_key, hash_of, is_key, list_keys, make_key, parse_scopes, revoke_key
from core.errors import HubError
from core.ids import new_id
from core.store.database import Connection, connect_as
from tests.harness.organisations import Organisation, Organisations

SECRET = "a secret of the installation, long enough"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.fixture
async def owner(database_url: str) -> AsyncGenerator[Connection]:
    """A connection as the commands have it."""
    connection = await connect_as(database_url, "hub_owner")
    yield connection
    await connection.close()


def test_new_key_has_its_form():
    """Prefix, mode, 43 characters that are never twice the same, and a checksum."""
    keys = [make_key() for _ in range(100)]
    assert all(is_key(key) and key.startswith("aim_live_") and len(key) == KEY_LENGTH == 58 for key in keys)
    assert len({key[9:52] for key in keys}) == 100
    assert is_key(make_key("test"))
    assert make_key("test").startswith("aim_test_")


def test_random_part_carries_256_bits():
    """62 to the power of its length."""
    assert 62**43 >= 2**256


@given(st.integers(0, 57), st.sampled_from(BASE62 + "_-é "))
def test_key_with_one_wrong_character_is_none(index: int, character: str):
    """CRC-32 finds every error within 32 bits, wherever it stands."""
    key = "aim_live_" + "k3" * 21 + "Q"
    whole = key + _check_of(key)
    wrong = whole[:index] + character + whole[index + 1 :]
    assert is_key(wrong) == (wrong == whole)


def _check_of(body: str) -> str:
    """The checksum as others would compute it, from the description."""
    number, digits = zlib.crc32(body.encode()), ""
    while len(digits) < 6:
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


@pytest.mark.parametrize(
    "text", ["", "aim_", "aim_live_", "aim_live_" + "0" * 49, "sk_live_" + "0" * 49, "\ud800", "\0"]
)
def test_other_text_is_no_key(text: str):
    """Whatever it is."""
    assert not is_key(text)


def test_key_with_a_line_end_is_none():
    """The form is matched to the very end."""
    assert not is_key(make_key() + "\n")


def test_hash_depends_on_the_secret():
    """The table alone tells nothing about keys."""
    key = make_key()
    assert hash_of(SECRET, key) != hash_of(SECRET + "x", key)
    assert hash_of(SECRET, key) == hash_of(SECRET, key)


async def test_key_is_shown_once_and_not_stored(owner: Connection, organisation: Organisation):
    """What is stored is its hash, and a hint of four characters of it."""
    record, key = await create_key(owner, SECRET, organisation.id, "first", ["read:agents", "read:agents"])
    assert (record.name, record.scopes, record.resource_ids) == ("first", ("read:agents",), None)
    assert record.hint == key[:13]
    row: Any = await owner.fetchrow("SELECT * FROM keys WHERE id = $1", record.id)
    assert row["hash"] == hash_of(SECRET, key)
    assert key[13:] not in repr(dict(row))


async def test_restricted_key_keeps_its_limits(owner: Connection, organisation: Organisation):
    """Resources and end."""
    ids, end = [new_id(), new_id()], datetime(2030, 1, 1, tzinfo=UTC)
    record, key = await create_key(
        owner, SECRET, organisation.id, "r", ALL_SCOPES, resource_ids=ids, expires_at=end, mode="test"
    )
    assert key.startswith("aim_test_")
    assert (record.resource_ids, record.expires_at) == (tuple(sorted(ids)), end)
    assert await list_keys(owner, organisation.id) == [record]


async def test_unknown_scope_is_named(owner: Connection, organisation: Organisation):
    """And nothing is made."""
    with pytest.raises(HubError, match="read:everything") as caught:
        await create_key(owner, SECRET, organisation.id, "k", ["read:agents", "read:everything"])
    assert [detail.field for detail in caught.value.details] == ["scopes[1]"]
    assert await list_keys(owner) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": []},
        {"name": ""},
        {"name": " "},
        {"name": "a\nb"},
        {"name": "a\0b"},
        {"name": "x" * 201},
        {"expires_at": datetime(2030, 1, 1)},
    ],
)
async def test_key_that_cannot_be_is_refused(owner: Connection, organisation: Organisation, changes: dict[str, Any]):
    """Before anything reaches PostgreSQL."""
    wanted: dict[str, Any] = {"name": "k", "scopes": ["read:agents"]} | changes
    with pytest.raises(HubError) as caught:
        await create_key(owner, SECRET, organisation.id, **wanted)
    assert caught.value.code == "VALIDATION_ERROR"


async def test_key_of_an_unknown_organisation_is_refused(owner: Connection):
    """There is nobody that it could speak for."""
    with pytest.raises(HubError) as caught:
        await create_key(owner, SECRET, new_id(), "k", ["read:agents"])
    assert caught.value.code == "RESOURCE_NOT_FOUND"


async def test_keys_are_listed_by_organisation(owner: Connection, organisations: Organisations):
    """Oldest first, those of others only where all are asked for."""
    a, b = await organisations.create(), await organisations.create()
    made: list[UUID] = []
    for of in (a, b, a):
        record, _ = await create_key(owner, SECRET, of.id, "k", ["read:agents"])
        made.append(record.id)
    assert [record.id for record in await list_keys(owner, a.id)] == [made[0], made[2]]
    assert {record.id for record in await list_keys(owner)} == set(made)


@pytest.mark.parametrize("by", ["id", "key"])
async def test_key_is_revoked_once(owner: Connection, organisation: Organisation, by: str):
    """By id or by the key itself; again changes nothing; others stay."""
    record, key = await create_key(owner, SECRET, organisation.id, "k", ["read:agents"])
    other, _ = await create_key(owner, SECRET, organisation.id, "k2", ["read:agents"])
    name = str(record.id) if by == "id" else key
    first = await revoke_key(owner, SECRET, name)
    again = await revoke_key(owner, SECRET, name)
    assert first.id == record.id
    assert first.revoked_at is not None
    assert again == first
    assert [kept.id for kept in await list_keys(owner) if kept.revoked_at is None] == [other.id]


async def test_unknown_key_cannot_be_revoked(owner: Connection):
    """The text does not repeat what was given: it may have been a key."""
    for name in (str(new_id()), make_key(), "", "nonsense\0"):
        with pytest.raises(HubError) as caught:
            await revoke_key(owner, SECRET, name)
        assert caught.value.code == "RESOURCE_NOT_FOUND"
        assert not name or name not in caught.value.text


def test_scopes_are_read_as_people_write_them():
    """Spaces or commas."""
    assert parse_scopes("read:agents, write:agents  hub:admin") == ["read:agents", "write:agents", "hub:admin"]
    for text in ("", "read:agents read"):
        with pytest.raises(HubError):
            parse_scopes(text)
