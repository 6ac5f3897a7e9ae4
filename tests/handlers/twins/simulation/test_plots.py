"""The documentation is that of the code: its drawings, tables, and examples that can be run."""

import json
import re
from typing import Any

from handlers.twins.simulation.derived import modelled
from handlers.twins.simulation.plots import DRAWINGS, FOLDER, drawn
from handlers.twins.simulation.reference import PAGE, brought_up_to_date
from handlers.twins.simulation.scenarios import KNOWN, built


def examples(first: str) -> list[dict[str, Any]]:
    """Return the JSON objects of the page that begin with this name."""
    indented = re.sub(r"^    ", "", PAGE.read_text(), flags=re.MULTILINE)
    found = re.finditer(rf'^\{{"{first}".*?(?=\n```|\n\n)', indented, re.MULTILINE | re.DOTALL)
    return [json.loads(each[0]) for each in found]


def test_drawings_of_the_documentation_are_current():
    """`python -m handlers.twins.simulation.plots` writes them."""
    assert {each.scenario for each in DRAWINGS} == set(KNOWN)
    assert {path.name: path.read_text() for path in FOLDER.glob("*.svg")} == dict(drawn())


def test_tables_of_the_documentation_are_current():
    """`python -m handlers.twins.simulation.reference` writes them."""
    assert PAGE.read_text() == brought_up_to_date(PAGE.read_text())


def test_examples_of_models_can_be_run():
    models = examples("engine")
    assert [each["engine"] for each in models] == ["network", "flows"]
    for each in models:
        assert built({"model": each}, "what_if", {"patch": {"model": {}}}).case.model.engine == each["engine"]


def test_the_example_of_data_makes_a_model():
    (example,) = examples("type")
    assert modelled(example).origin == "data"


def test_the_example_of_a_scenario_can_be_run():
    (example,) = examples("scenarios")
    assert len(built({"type": "logistics", **example}, "promotion", {"lift": 2}).case.changes) == 2
