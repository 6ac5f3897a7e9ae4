"""What a model writes as arguments is checked before anything is done, and it is told what to mend."""

from typing import Any

import pytest

from handlers.agents.tools.arguments import LONGEST_ARGUMENTS, read_arguments
from handlers.agents.tools.http_request import SPEC as HTTP
from handlers.agents.tools.knowledge_query import SPEC as KNOWLEDGE
from handlers.agents.tools.text_processing import SPEC as TEXTS
from handlers.agents.tools.tool import ToolError
from handlers.events.schemas import compiled
from handlers.models.model import ToolSpec


def spec(**schema: Any) -> ToolSpec:
    return ToolSpec("weather", "Tells the weather", {"type": "object", **schema})


@pytest.mark.parametrize("text", ["", "  ", "{}"], ids=repr)
def test_no_arguments_are_an_empty_object(text: str):
    """Models write nothing at all where there is nothing to say."""
    assert read_arguments(spec(), text) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"city": "Rome"', "no JSON"),
        ('["Rome"]', "one JSON object"),
        ('{"city": "Rome", "city": "Bonn"}', "more than once"),
        ('{"n": 123456789012345678901234567890}', "cannot be read"),
        ('{"city": "\ud800"}', "no JSON"),
        ("[" * 3_000, "no JSON"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", "nested over 64"),
        ('{"a": "' + "x" * LONGEST_ARGUMENTS + '"}', "KiB"),
    ],
    ids=[
        "cut off",
        "a list",
        "a name twice",
        "a number too large",
        "half a character",
        "too deep to read",
        "too deep to keep",
        "too long",
    ],
)
def test_arguments_that_cannot_be_read(text: str, said: str):
    """Each is told by its own words."""
    with pytest.raises(ToolError, match=said):
        read_arguments(spec(), text)


def test_arguments_that_do_not_fit_are_named():
    """With their place, so that the model mends the right one."""
    wanted = spec(properties={"city": {"type": "string"}, "days": {"maximum": 7}}, required=["city"])
    with pytest.raises(ToolError, match=r"arguments\.city.*arguments\.days|arguments\.days.*arguments\.city"):
        read_arguments(wanted, '{"days": 9}')
    assert read_arguments(wanted, '{"city": "Rome", "days": 2}') == {"city": "Rome", "days": 2}


def test_schema_that_the_hub_does_not_take_leaves_the_check_to_the_server():
    """A server's own may refer to itself; its arguments are an object all the same."""
    recursive = spec(properties={"x": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": {"items": {"$ref": "#/$defs/x"}}}})
    assert read_arguments(recursive, '{"x": []}') == {"x": []}
    with pytest.raises(ToolError):
        read_arguments(recursive, "[]")


@pytest.mark.parametrize("built_in", [HTTP, KNOWLEDGE, TEXTS], ids=lambda each: each.name)
def test_schemas_of_built_in_tools_are_taken(built_in: ToolSpec):
    """Else nothing would be checked."""
    compiled(built_in.parameters, "parameters")
