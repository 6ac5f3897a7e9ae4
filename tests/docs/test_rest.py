"""docs/rest.md says what the routes and the resources' fields say."""

import re
from pathlib import Path

from handlers.agents.models import AgentBody
from handlers.knowledge.models import KnowledgeBody
from handlers.twins.models import TwinBody
from rest.v2 import V2
from tests.rest.declared import operations

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"
KINDS = {"agents": AgentBody, "knowledge": KnowledgeBody, "twins": TwinBody}


def test_every_request_is_documented():
    """With its operation and its scope, and no other."""
    rows = re.findall(r"^\| `([A-Z]+ /v2\S+)` \| `(\S+)` \| (\S+) \|", PAGE.read_text(), re.MULTILINE)
    documented = {
        tuple(cell.strip("`").replace("<kind>", kind) for cell in row)
        for row in rows
        for kind in (KINDS if "<kind>" in row[0] else ("",))
    }
    known = operations()
    routes = {
        (f"{route.method} /v2{route.path}", route.operation, known[route.operation].scope or "-") for route in V2.routes
    }
    assert documented == routes


def test_every_field_is_documented():
    """Each kind's own, in order; a default in brackets follows what it is of."""
    section = PAGE.read_text().partition("## Resources")[2].partition("## Writing")[0]
    for kind, body in KINDS.items():
        (row,) = re.findall(rf"^\| `{kind}` \| (.*) \|$", section, re.MULTILINE)
        assert re.findall(r"`(\w+)`(?: \(|, needed)", row) == list(body.model_fields), kind
