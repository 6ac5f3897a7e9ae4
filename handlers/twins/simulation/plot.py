"""A drawing of one series of a result: SVG without scripts, for light and dark pages, the same bytes for the same result."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from core.errors import Detail, HubError

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 92, 56
LONGEST_TEXT, LONGEST_DESCRIPTION = 90, 1_000
# XML has no way to write these.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = """
text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}.paper{fill:#fff}.grid{stroke:#d8dee4}
.axis{stroke:#57606a}.change{fill:#d4a72c;fill-opacity:.18}.band{fill:#0969da;fill-opacity:.18}.mean,.usual{fill:none;stroke-width:2}
.mean{stroke:#0969da}.usual{stroke:#57606a;stroke-dasharray:6 4}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.paper{fill:#0d1117}.grid{stroke:#30363d}.axis{stroke:#8b949e}
.change{fill:#e3b341}.band{fill:#58a6ff}.mean{stroke:#58a6ff}.usual{stroke:#8b949e}}
"""

Values = Sequence[float | None]
Point = tuple[float, float]


def svg(told: Mapping[str, Any], *, title: str, indicator: str | None = None) -> str:
    """Return the drawing of `indicator`, else of the main one, of what a result has as an object (`series` and `baseline`).

    Under 60 KB. Raises HubError VALIDATION_ERROR where there is no such series.
    """
    series = told["series"]
    known: Mapping[str, Any] = series["indicators"]
    name = indicator or series["main"]
    if name not in known:
        message = f"One of: {', '.join(list(known)[:50]) or 'none'}"
        raise HubError("VALIDATION_ERROR", details=[Detail("indicator", "VALUE_OUT_OF_RANGE", message)])
    beside = (told.get("baseline") or {}).get("series", {}).get("indicators", {}).get(name, {})
    return _Drawing(name, title, series, known[name], beside.get("mean", ())).written()


@dataclass(slots=True)
class _Drawing:
    name: str
    title: str
    series: Mapping[str, Any]
    band: Mapping[str, Any]
    usual: Values

    def written(self) -> str:
        return "".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" ',
                'role="img" aria-labelledby="title desc">',
                f'<title id="title">{_text(self.title)}</title>',
                f'<desc id="desc">{_text(self._described(), LONGEST_DESCRIPTION)}</desc>',
                f'<style>{_STYLE}</style><rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
                f'<text class="title" x="{LEFT}" y="28">{_text(self.title)}</text>',
                *self._legend(),
                *self._changes(),
                *self._axes(),
                *self._lines(),
                "</svg>\n",
            )
        )

    def _described(self) -> str:
        unit = self.series["time_unit"]
        known = [value for value in self.band["mean"] if value is not None]
        spans = [f"{_tick(each['begin'])} to {_tick(each['end'])}" for each in self.series["changes"][:5]]
        ranges = ""
        if known:
            ranges = (
                f" The mean is {known[0]:g} at first, {known[-1]:g} at last, {min(known):g} to {max(known):g} between."
            )
        changed = f" A change holds from {', '.join(spans)}." if spans else ""
        return f"{self.name} over time in {unit}s.{ranges}{changed}"

    def _legend(self) -> Iterator[str]:
        at = LEFT
        for kind, label in self._labels():
            if kind in ("mean", "usual"):
                yield f'<path class="{kind}" d="M{at} 52h24"/>'
            else:
                yield f'<rect class="{kind}" x="{at}" y="46" width="24" height="12"/>'
            yield f'<text x="{at + 30}" y="56">{label}</text>'
            at += 48 + round(6.4 * len(label))

    def _labels(self) -> Iterator[tuple[str, str]]:
        yield "mean", "mean"
        yield "band", "5th to 95th percentile of runs"
        if self.usual:
            yield "usual", "baseline, mean"
        if self.series["changes"]:
            yield "change", "change"

    def _changes(self) -> Iterator[str]:
        for each in self.series["changes"]:
            begin, end = self._x(each["begin"]), self._x(each["end"])
            height = HEIGHT - TOP - BOTTOM
            yield f'<rect class="change" x="{begin:.1f}" y="{TOP}" width="{max(1, end - begin):.1f}" height="{height}"/>'

    def _axes(self) -> Iterator[str]:
        low, high = self._range()
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for value in ticks(low, high):
            y = self._y(value)
            yield f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_tick(value)}</text>'
        for value in ticks(0, self._horizon):
            x = self._x(value)
            yield f'<path class="axis" d="M{x:.1f} {bottom}v5"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 19}" text-anchor="middle">{_tick(value)}</text>'
        yield f'<path class="axis" fill="none" d="M{LEFT} {TOP}V{bottom}H{right}"/>'
        unit = _text(self.series["time_unit"])
        yield f'<text x="{(LEFT + right) / 2:.1f}" y="{HEIGHT - 14}" text-anchor="middle">time ({unit}s)</text>'
        yield f'<text x="{LEFT}" y="{TOP - 10}">{_text(self.name)} ({_text(self._unit())})</text>'

    def _lines(self) -> Iterator[str]:
        for low, high in zip(self._stretches(self.band["low"]), self._stretches(self.band["high"]), strict=False):
            yield f'<path class="band" d="{_path([*low, *reversed(high)])}Z"/>'
        yield from (f'<path class="usual" d="{_path(points)}"/>' for points in self._stretches(self.usual))
        yield from (f'<path class="mean" d="{_path(points)}"/>' for points in self._stretches(self.band["mean"]))

    def _stretches(self, values: Values) -> Iterator[list[Point]]:
        """Yield the points of values without a gap between them."""
        points: list[Point] = []
        for time, value in zip(self.series["times"], values, strict=False):
            if value is not None:
                points.append((self._x(time), self._y(value)))
            elif points:
                yield points
                points = []
        if points:
            yield points

    @property
    def _horizon(self) -> float:
        return float(self.series["times"][-1])

    def _unit(self) -> str:
        unit = str(self.band["unit"])
        return f"{self.series['time_unit']}s" if unit == "time" else unit

    def _range(self) -> Point:
        seen = [
            value for values in (*map(self.band.get, ("low", "mean", "high")), self.usual) for value in values or ()
        ]
        known = [value for value in seen if value is not None] or [0.0]
        low, high = min(0.0, *known), max(0.0, *known)
        return (low, high) if high > low else (low, low + 1)

    def _x(self, time: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * time / self._horizon

    def _y(self, value: float) -> float:
        low, high = self._range()
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)


def ticks(low: float, high: float) -> list[float]:
    """Return about five round values between `low` and `high`: steps of 1, 2 or 5 of a power of ten."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(each for each in (1, 2, 5, 10) if each * power >= rough * 0.999999)
    first = math.ceil(low / step - 1e-9)
    count = math.floor((high - low) / step + 1e-9) + 1
    return [(first + each) * step for each in range(count) if (first + each) * step <= high + step * 1e-9]


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e7 else f"{value:.6g}"


def _text(text: str, most: int = LONGEST_TEXT) -> str:
    plain = _NOT_IN_XML.sub("\ufffd", text)
    return escape(plain if len(plain) <= most else f"{plain[: most - 1]}…")
