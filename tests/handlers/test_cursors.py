"""Lists between cursors: what exists throughout is seen once, whatever comes and goes meanwhile; what is no cursor is refused."""

import base64
import random
from typing import Any

import orjson
import pytest

from core.errors import HubError
from core.operations.results import Page, Window
from handlers.lists.cursors import LONGEST, cursor_of, values_of
from handlers.lists.order import order_of
from handlers.resources.listing import FIELDS
from tests.handlers.house import House, refused
from tests.harness.organisations import Organisations

SORTS = [None, "created_at", "-name", "type,-name", "-status", "-updated_at,type", "name,-created_at,type", "id", "-id"]


async def window(house: House, **wanted: Any) -> tuple[list[str], Window]:
    """Return the ids of a window of agents, and the window."""
    page: Page = await house.run("agents.list", **wanted)
    assert page.window is not None
    assert len(page.items) <= page.window.limit
    return [orjson.loads(item)["id"] for item in page.items], page.window


class Traffic:
    """Agents that come and go beside those that stay."""

    def __init__(self, house: House, dice: random.Random) -> None:
        self._house = house
        self._dice = dice
        self._passing: list[str] = []
        self.staying: list[str] = []

    async def create(self) -> str:
        """Make an agent of few names, often of the same moment as others."""
        dice = self._dice
        self._house.clock.jump(dice.choice([0, 0, 1]))
        body = {"name": dice.choice("abAB"), "type": dice.choice("xy"), "status": dice.choice("st")}
        made = await self._house.create("agents", **body, metadata={"team": dice.choice("ab"), "near": "pump"})
        return str(made.id)

    async def stir(self) -> None:
        """Create some, delete some that are not to stay, and move the clock back and forth, as several nodes' clocks do."""
        for _ in range(self._dice.randrange(3)):
            self._house.clock.jump(self._dice.choice([-5, 5]))
            self._passing.append(await self.create())
        while self._passing and self._dice.random() < 0.5:
            gone = self._passing.pop(self._dice.randrange(len(self._passing)))
            await self._house.run("agents.delete", id=gone)


async def stocked(house: House, dice: random.Random) -> Traffic:
    """Make agents that stay and agents that go, mixed."""
    traffic = Traffic(house, dice)
    for _ in range(16):
        traffic.staying.append(await traffic.create())
        await traffic.stir()
    return traffic


async def travelled(house: House, traffic: Traffic, wanted: dict[str, Any], name: str, start: str | None) -> list[str]:
    """Go on by `name` (after, before) to the end, while agents come and go; returns the ids in the list's order."""
    seen: list[str] = []
    cursor = start
    while True:
        asked = {**wanted, **({} if cursor is None else {name: cursor})}
        ids, found = await window(house, **asked)
        seen = [*seen, *ids] if name == "after" else [*ids, *seen]
        cursor = found.after if name == "after" else found.before
        assert found.has_more == (found.has_next if name == "after" else found.has_previous)
        if not found.has_more or cursor is None:
            return seen
        await traffic.stir()


@pytest.mark.parametrize("sort", SORTS)
async def test_what_stays_is_seen_once_while_others_come_and_go(house: House, sort: str | None):
    """There and back, with any sort, filters and search: nothing that exists throughout is left out or seen twice."""
    dice = random.Random(str(sort))
    traffic = await stocked(house, dice)
    for more in ({}, {"filter": {"metadata.team": "a"}}, {"q": "pump"}, {"type": "x"}):
        base = {**more, **({} if sort is None else {"sort": sort})}
        page: Page = await house.run("agents.list", **base, per_page=100)
        listed = [orjson.loads(item)["id"] for item in page.items]
        staying = [id for id in listed if id in traffic.staying]
        wanted = {**base, "limit": dice.randrange(1, 6)}
        forth = await travelled(house, traffic, wanted, "after", None)
        whole, end = await window(house, **{**base, "limit": 100})
        assert end.after is not None
        back = await travelled(house, traffic, wanted, "before", end.after)
        for seen in (forth, back):
            assert len(seen) == len(set(seen))
        assert [id for id in forth if id in traffic.staying] == staying
        assert [id for id in back if id in traffic.staying] == [id for id in staying if id != whole[-1]]


async def test_first_and_last_window_say_so(house: House):
    """At the beginning there is nothing before, at the end nothing after; the total is that of the list, not of the rest."""
    for number in range(5):
        house.clock.jump(1)
        await house.create("agents", name=f"a{number}")
    first: Page = await house.run("agents.list", limit=2)
    assert first.window is not None
    assert (first.total, first.window.has_more, first.window.has_previous) == (5, True, False)
    middle: Page = await house.run("agents.list", limit=2, after=first.window.after)
    assert middle.window is not None
    assert (middle.total, middle.window.has_next, middle.window.has_previous) == (5, True, True)
    last: Page = await house.run("agents.list", limit=2, after=middle.window.after)
    assert last.window is not None
    assert (len(last.items), last.window.has_more, last.window.has_next) == (1, False, False)
    beyond: Page = await house.run("agents.list", limit=2, after=last.window.after)
    assert (beyond.items, beyond.total, beyond.window) == (
        [],
        5,
        Window(2, None, None, has_more=False, has_next=False, has_previous=False),
    )
    back: Page = await house.run("agents.list", limit=2, before=middle.window.before)
    assert back.items == first.items
    assert back.window is not None
    assert (back.window.has_more, back.window.has_next, back.window.has_previous) == (False, True, False)


async def test_cursor_is_for_its_own_sort_filters_and_kind(house: House):
    """With another list a place means nothing: 422 for the cursor. The size of a window and the fields may change."""
    await house.create("agents", name="a")
    base = {"sort": "name", "filter": {"status": "active"}}
    _, found = await window(house, **base, limit=1)
    assert found.after is not None
    await window(house, **base, limit=7, fields="name", after=found.after)
    others: list[tuple[str, dict[str, Any]]] = [
        ("agents", {**base, "sort": "-name"}),
        ("agents", {**base, "sort": "name,type"}),
        ("agents", {**base, "filter": {"status": "inactive"}}),
        ("agents", {**base, "filter": {"status": {"ne": "active"}}}),
        ("agents", {"sort": "name"}),
        ("agents", {**base, "q": "a"}),
        ("agents", {**base, "type": "assistant"}),
        ("agents", {}),
        ("twins", base),
    ]
    for kind, wanted in others:
        error = await refused(house.run(f"{kind}.list", **wanted, after=found.after))
        assert [(detail.field, detail.code) for detail in error.details] == [("after", "INVALID_FORMAT")], wanted


async def test_cursor_of_another_organisation_shows_nothing_of_it(house: House, organisations: Organisations):
    """A cursor is a place, not a right."""
    await house.create("agents", name="a")
    _, found = await window(house, limit=1)
    foreign = (await organisations.create()).caller()
    page: Page = await house.run("agents.list", foreign, after=found.after)
    assert (page.items, page.total) == ([], 0)


async def test_changed_cursor_is_refused(house: House):
    """Whatever is done to a cursor, it is 422 for its field: never an error of the hub's."""
    dice = random.Random(7)
    await house.create("agents", name="a")
    _, found = await window(house, limit=1, sort="name")
    assert found.after is not None
    packed = base64.urlsafe_b64decode(found.after + "=" * (-len(found.after) % 4))
    tried = [
        "",
        "=",
        "a",
        "\0",
        "\ud800",
        "é",
        "....",
        found.after[:-1],
        found.after + "A",
        found.after[::-1],
        "A" * LONGEST,
        "null",
    ]
    for _ in range(150):
        bad = bytearray(packed)
        for _ in range(dice.randrange(1, 4)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        tried.append(base64.urlsafe_b64encode(bytes(bad)).decode().rstrip("="))
    for text in tried:
        if text == found.after:  # changed into what it was
            continue
        error = await refused(house.run("agents.list", sort="name", before=text))
        assert [(detail.field, detail.code) for detail in error.details] == [("before", "INVALID_FORMAT")], text


async def test_longest_cursor_that_a_list_gives_is_taken(house: House):
    """Of names that JSON writes at their longest, sorted by all that a list may be sorted by."""
    longest = {"name": "\x01" * 200, "type": "t" * 64, "status": "s" * 64}
    for _ in range(2):
        await house.create("agents", **longest)
    sort = "name,type,status,created_at,updated_at"
    ids, found = await window(house, limit=1, sort=sort)
    assert found.after is not None
    assert len(found.after) > LONGEST * 0.8
    behind, _ = await window(house, limit=1, sort=sort, after=found.after)
    assert len({*ids, *behind}) == 2


async def test_forged_values_are_typed_again(house: House):
    """Whoever knows how cursors are made gets no further than those that the hub makes."""

    order = order_of(["created_at", "name"], FIELDS)
    mark = b"12345678"
    good = [0, "a", "00000000-0000-0000-0000-000000000000"]
    assert len(values_of(cursor_of(mark, order, good), mark, order, "after")) == 3
    for place, bad in [
        (0, "x"),
        (0, 10**18),
        (0, 1.5),
        (0, None),
        (0, []),
        (1, 5),
        (1, "\0"),
        (1, None),
        (2, "x"),
        (2, 5),
        (2, {}),
    ]:
        values = [*good[:place], bad, *good[place + 1 :]]
        with pytest.raises(HubError) as caught:
            values_of(cursor_of(mark, order, values), mark, order, "after")
        assert caught.value.details[0].field == "after"
    for wrong in ([], good[:2], [*good, 1]):
        with pytest.raises(HubError):
            values_of(cursor_of(mark, order, wrong), mark, order, "after")
