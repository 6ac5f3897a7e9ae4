"""Tables of docs/simulation-models.md. `python -m handlers.twins.simulation.reference` brings the page up to date."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from handlers.twins.simulation import erp
from handlers.twins.simulation.indicators import INDICATORS, SERIES
from handlers.twins.simulation.plots import DRAWINGS, RUNS, SEED, Drawing, outcome
from handlers.twins.simulation.samples import BY_TYPE, SAMPLES, SUPPLY_CHAIN
from handlers.twins.simulation.scenarios import KNOWN

PAGE = Path(__file__).parents[3] / "docs" / "simulation-models.md"
_BOUNDS = (("minimum", "{:g} or more"), ("exclusiveMinimum", "above {:g}"), ("maximum", "at most {:g}"))
_OF_PARAMETERS = ("parameter", "kind", "bounds", "default")
# What stands for no bound that anybody meets.
_ENDLESS = 1e12


def tables() -> dict[str, str]:
    """Return the tables by the name of their place in the page."""
    return {
        "indicators": _table(("of a", "indicator", "unit", "meaning"), _indicators()),
        "series": _table(("of a", "series", "unit", "meaning"), _series()),
        "samples": _table(("sample", "what it is", "types"), _samples()),
        "names": _table(("what", "names"), _names()),
        **{f"parameters of {name}": _table(_OF_PARAMETERS, _parameters(name)) for name in KNOWN},
        **{f"drawing of {each.name}": _drawing(each) for each in DRAWINGS},
    }


def brought_up_to_date(page: str) -> str:
    """Return `page` with its tables replaced; raises LookupError where a table has no place in it."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if place.search(page) is None:
            raise LookupError(f"the page has no place for {name}")
        new = f"{begin}\n{table}{end}"
        page = place.sub(lambda _, new=new: new, page)
    return page


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


def _drawing(drawing: Drawing) -> str:
    """Return the picture, and the findings of what it shows."""
    asked = {"scenario": drawing.scenario, "parameters": drawing.parameters, "runs": RUNS, "seed": SEED}
    request = (
        f"curl $HUB/v2/twins/$ID/simulate -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' \\\n"
        f"  -d '{json.dumps(asked)}'"
    )
    said = "".join(f"- {text}\n" for text in outcome(drawing).summary["findings"])
    picture = f"![{drawing.title}](plots/{drawing.name}.svg)"
    return f"On a twin of type `{drawing.type}`:\n\n```\n{request}\n```\n\n{picture}\n\n{said}"


def _indicators() -> Iterator[tuple[str, str, str, str]]:
    for kind, told in INDICATORS.items():
        for each in told:
            name = each.name if kind == "model" else f"<node>.{each.name}"
            yield kind, f"`{name}`", each.unit, each.meaning


def _series() -> Iterator[tuple[str, str, str, str]]:
    for kind, told in SERIES.items():
        for each in told:
            yield kind, f"`<node>.{each.name}`" if each.name else "`<stock>`", each.unit, each.meaning


def _samples() -> Iterator[tuple[str, str, str]]:
    for sample in SAMPLES:
        types = ", ".join(f"`{kind}`" for kind, each in BY_TYPE.items() if each is sample)
        every = "`logistics`, `erp_system`, `generic`, and all others"
        yield f"`{sample.name}`", sample.says, every if sample is SUPPLY_CHAIN else types


def _names() -> Iterator[tuple[str, str]]:
    for what, names in erp.READ.items():
        yield what, ", ".join(f"`{name}`" for name in names)


def _parameters(name: str) -> Iterator[tuple[str, str, str, str]]:
    schema = KNOWN[name].model_json_schema()
    for parameter, told in schema["properties"].items():
        plain = next((each for each in told.get("anyOf", ()) if each != {"type": "null"}), told)
        default = told.get("default")
        if parameter in schema.get("required", ()):
            yield f"`{parameter}`", _kind(plain), _bounds(plain), "must be given"
        else:
            yield f"`{parameter}`", _kind(plain), _bounds(plain), "see above" if default is None else f"{default:g}"


def _kind(told: Mapping[str, Any]) -> str:
    if told.get("type") == "array":
        return "list of names"
    return {"string": "name", "number": "number", "object": "object"}.get(told.get("type", ""), "policy")


def _bounds(told: Mapping[str, Any]) -> str:
    found = [says.format(told[word]) for word, says in _BOUNDS if word in told and abs(told[word]) < _ENDLESS]
    return ", ".join(found) or "-"


if __name__ == "__main__":
    PAGE.write_text(brought_up_to_date(PAGE.read_text()))
