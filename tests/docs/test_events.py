"""docs/events.md has the types of events that the hub has."""

import re
from pathlib import Path

from handlers.agents.executions.happenings import EXECUTIONS
from handlers.agents.operations import Agents
from handlers.events.notices import NOTICES
from handlers.knowledge.operations import Knowledge
from handlers.twins.operations import Twins

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def test_every_type_is_documented():
    """In the order of names, each with its subject, whether it is emitted, and what it tells."""
    rows = re.findall(r"^\| `(\S+)` \| `(\S+)` \| (emitted|planned) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    kinds = (Agents(), Knowledge(), Twins())
    types = [*EXECUTIONS, *NOTICES, *(each for kind in kinds for each in kind.event_types())]
    told = [(each.name, each.subject, "planned" if each.is_planned else "emitted", each.summary) for each in types]
    assert rows == sorted(told)
