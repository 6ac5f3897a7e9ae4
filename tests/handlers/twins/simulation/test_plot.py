"""Drawings: well-formed, told to who cannot see them, without scripts, and safe with any text."""

from functools import cache
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import HubError
from handlers.twins.simulation.plot import svg, ticks
from handlers.twins.simulation.plots import simulated
from handlers.twins.simulation.scenarios import built

SVG = "{http://www.w3.org/2000/svg}"


@cache
def spike() -> dict[str, Any]:
    case = built({"type": "logistics"}, "demand_spike", {})
    return simulated(case, runs=5, seed=3).as_object()


def drawn(told: dict[str, Any], **more: Any) -> ElementTree.Element:
    return ElementTree.fromstring(svg(told, **{"title": "A spike", **more}))  # noqa: S314 - our own


def one(values: list[float | None], **more: Any) -> dict[str, Any]:
    """Return a result with one series of these values."""
    band = {"unit": "units", "mean": values, "low": values, "high": values}
    times = [float(each) for each in range(len(values))]
    return {
        "series": {"time_unit": "day", "times": times, "changes": [], "main": "s", "indicators": {"s": band}, **more}
    }


def classes(root: ElementTree.Element) -> list[str]:
    return [each.get("class", "") for each in root.iter() if each.get("class")]


def texts(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SVG}text")]


def test_has_mean_band_baseline_and_change():
    root = drawn(spike())
    assert {"mean", "band", "usual", "change"} <= set(classes(root))
    assert {"A spike", "mean", "baseline, mean", "change", "time (days)"} <= set(texts(root))


def test_is_told_to_who_cannot_see_it():
    root = drawn(spike())
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title desc"
    assert root.findtext(f"{SVG}title") == "A spike"
    assert "A change holds from 60 to 78." in (root.findtext(f"{SVG}desc") or "")


def test_is_readable_on_dark_pages_and_has_no_script():
    text = svg(spike(), title="A spike")
    assert "prefers-color-scheme:dark" in text
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert len(text.encode()) < 60_000


def test_another_indicator_may_be_drawn():
    root = drawn(spike(), indicator="store.backlog")
    assert "store.backlog (units)" in texts(root)
    with pytest.raises(HubError) as caught:
        svg(spike(), title="", indicator="nobody.stock")
    assert [each.field for each in caught.value.details] == ["indicator"]


def test_without_a_baseline_none_is_drawn():
    assert "usual" not in classes(drawn({**spike(), "baseline": None}))


def test_gaps_stay_gaps():
    """A value that no run could tell is not made up."""
    root = drawn(one([1, 2, None, 4, 5]))
    lines = [each.get("d", "") for each in root.iter(f"{SVG}path") if each.get("class") == "mean"]
    # One of them is the legend's.
    assert len(lines) == 3
    assert drawn(one([None, None])) is not None


@pytest.mark.parametrize("values", [[0, 0], [5, 5], [-3, -1], [1e12, 0], [1e-9, 2e-9], [-1e12, 1e12]])
def test_any_range_has_ticks_within_it(values: list[float | None]):
    root = drawn(one(values))
    places = [float(each.get("y", "0")) for each in root.iter(f"{SVG}text") if each.get("text-anchor") == "end"]
    assert 2 <= len(places) <= 12
    assert all(90 <= place <= 352 for place in places)


@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12))
def test_ticks_are_round_and_few(low: float, width: float):
    high = low + width
    if high - low > abs(low) * 1e-6:
        found = ticks(low, high)
        assert 1 <= len(found) <= 11
        assert all(low - width * 1e-6 <= each <= high + width * 1e-6 for each in found)


@given(st.text(max_size=200))
def test_any_text_is_escaped(text: str):
    told = one([1, 2], time_unit="<b>", main=text)
    told["series"]["indicators"] = {text: told["series"]["indicators"]["s"]}
    root = ElementTree.fromstring(svg(told, title=text))  # noqa: S314 - our own
    assert {each.tag.removeprefix(SVG) for each in root.iter()} <= {
        *("svg", "title", "desc", "style", "rect", "text", "path"),
    }


def test_the_same_result_is_the_same_bytes():
    assert svg(spike(), title="x") == svg(spike(), title="x")
