"""How an agent works is read from its config; what is wrong is told, each at its place, before a run begins."""

from typing import Any
from uuid import UUID

import pytest

from core.errors import HubError
from handlers.agents.config import AgentConfig, config_of
from handlers.agents.models import AgentBody

TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


def read(**config: Any) -> AgentConfig:
    return config_of(AgentBody(name="A", config=config))


def test_nothing_said_gives_the_documented_values():
    """And what the hub does not know is the client's own."""
    config = read(colour="blue")
    assert (config.most_steps, config.most_tokens, config.most_seconds, config.attempts, config.depth) == (
        16,
        1024,
        300,
        2,
        4,
    )
    assert config.models == []


def test_everything_said_is_read():
    """Numbers, models in turn, tools, hosts in small letters, ids."""
    id = "01978f3e-5a73-7c3d-9b42-6f0d2c1e8a55"
    config = read(
        model="large",
        fallback=["small", "large"],
        temperature=1,
        tools=[{**TOOL, "approval": True}],
        approve=["http_request", "weather", "files__read"],
        http={"allow": ["API.example.com", "*.example.org", "*", "[::1]"]},
        mcp=[{"name": "files", "url": "https://files.example/mcp"}],
        agents=[id],
    )
    assert config.models == ["large", "small"]
    assert config.tools[0].approval
    assert config.http.allow == ["api.example.com", "*.example.org", "*", "[::1]"]
    assert config.agents == [UUID(id)]
    assert config.asks_first("http_request")
    assert not config.asks_first("text_processing")
    assert read(approve=["*"]).asks_first("text_processing")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"most_steps": 65}, "config.most_steps"),
        ({"most_seconds": 0}, "config.most_seconds"),
        ({"attempts": 6}, "config.attempts"),
        ({"depth": 9}, "config.depth"),
        ({"temperature": "hot"}, "config.temperature"),
        ({"model": ""}, "config.model"),
        ({"instructions": "a\x00b"}, "config.instructions"),
        ({"tools": [TOOL, TOOL]}, "config.tools[1].name"),
        ({"tools": [{**TOOL, "name": "delegate"}]}, "config.tools[0].name"),
        ({"tools": [{**TOOL, "name": "a__b"}]}, "config.tools[0].name"),
        ({"tools": [{**TOOL, "name": "a b"}]}, "config.tools[0].name"),
        ({"tools": [{**TOOL, "parameters": {"type": "array"}}]}, "config.tools[0].parameters.type"),
        ({"tools": [{**TOOL, "parameters": {"maximun": 3}}]}, "config.tools[0].parameters.maximun"),
        (
            {"tools": [{**TOOL, "parameters": {"$ref": "https://elsewhere.example/schema"}}]},
            "config.tools[0].parameters.$ref",
        ),
        ({"approve": ["http_reqest"]}, "config.approve[0]"),
        ({"http": {"allow": ["https://a.example"]}}, "config.http.allow[0]"),
        ({"http": {"allow": ["a.*.example"]}}, "config.http.allow[0]"),
        ({"mcp": [{"name": "a", "url": "file:///etc/passwd"}]}, "config.mcp[0].url"),
        ({"mcp": [{"name": "a", "url": "https://a.example"}] * 2}, "config.mcp[1].name"),
        ({"agents": ["Jane"]}, "config.agents[0]"),
        ({"output_schema": "JSON"}, "config.output_schema"),
        ({"output_schema": {"type": "array"}}, "config.output_schema.type"),
        ({"output_schema": {"maximun": 3}}, "config.output_schema.maximun"),
        ({"output_schema": {"properties": {"a": {"pattern": "(?=a)"}}}}, "config.output_schema.properties.a.pattern"),
        ({"output_schema": {"enum": ["x" * 40_000]}}, "config.output_schema"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_wrong_is_told_at_its_place(config: dict[str, Any], field: str):
    """All at once, as everywhere."""
    with pytest.raises(HubError) as caught:
        read(**config)
    assert caught.value.code == "VALIDATION_ERROR"
    assert field in [detail.field for detail in caught.value.details]
