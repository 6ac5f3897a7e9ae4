"""Types of events: each example, and each event that is emitted, is of the schema that is told of it."""

import ast
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import orjson

from core.operations.results import Page
from handlers.agents.executions.happenings import EXECUTIONS
from handlers.events.notices import NOTICES
from handlers.knowledge.documents.progress import EVENT_TYPES as PROGRESS
from handlers.twins.simulations.happenings import SIMULATIONS
from handlers.twins.sync.happenings import SYNCS
from handlers.twins.telemetry.happenings import ALERTS
from tests.handlers.house import House, refused
from tests.handlers.test_events import ledger, stirred
from tests.harness.relaying import relaying

ROOT = Path(__file__).parents[2]
# What makes an event, and where in its arguments the type stands.
EMITTERS = ("emit", "Announcement", "new_event")
# Resources of every kind: `created` and so on behind the kind's own word.
OF_A_KIND = "handlers/resources/crud.py"


async def types_of(house: House) -> dict[str, dict[str, Any]]:
    page: Page = await house.run("event-types.list", per_page=100)
    return {each["id"]: each for each in map(orjson.loads, page.items)}


def check(type: dict[str, Any], event: dict[str, Any]) -> None:
    """Fail where an event is not of a type."""
    schema = type["data_schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(event["data"], schema, format_checker=jsonschema.FormatChecker())
    assert event["type"] == type["id"]
    assert event["subject"].partition("/")[0] == type["subject"].partition("/")[0]


async def test_examples_are_of_their_schemas(house: House):
    """Those that integrations are written for are among them."""
    types = await types_of(house)
    assert {"agent.execution.completed", "knowledge.updated"} <= types.keys()
    for name, type in types.items():
        check(type, type["example"])
        assert orjson.loads((await house.run("event-types.get", id=name)).body) == type
    assert (await refused(house.run("event-types.get", id="agent.painted"))).code == "RESOURCE_NOT_FOUND"


async def test_events_are_of_their_types(house: House):
    """Whatever is done to resources, each event's type is known, and its data as the schema says."""
    types = await types_of(house)
    async with relaying(house.url) as relay:
        await stirred(house, random.Random(4), 60)
        await relay.settled()
        told = await ledger(house)
    emitted = {name for name, type in types.items() if type["status"] == "emitted"}
    # Those of deliveries, ingestion, executions, and of what twins have are checked where these are.
    elsewhere = {each.name for each in (*NOTICES, *PROGRESS, *EXECUTIONS, *SIMULATIONS, *SYNCS, *ALERTS)}
    assert {each["type"] for each in told} == emitted - elsewhere
    for event in told:
        check(types[event["type"]], event)


def of_the_code() -> Iterator[tuple[str, str]]:
    """Find in the code file and type of each event that is emitted: a text, or the constant that has it.

    A type that is handed on as it came (`told.type`) was named where it began.
    """
    for folder in ("core", "handlers", "hub", "rest", "rooms"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            file, tree = path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())
            texts = {
                node.targets[0].id: node.value.value
                for node in tree.body
                if isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)
                and isinstance(node.value, ast.Constant)
            }
            for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
                match called_by(call):
                    case None | ast.Attribute(attr="type") | ast.Name(id="type" | "db"):
                        continue
                    case ast.Constant(value=name):
                        yield file, str(name)
                    case ast.Name(id=constant) if constant in texts:
                        yield file, str(texts[constant])
                    case ast.JoinedStr() if file == OF_A_KIND:
                        continue
                    case other:
                        raise AssertionError(f"{file}:{call.lineno} emits what cannot be read: {ast.unparse(other)}")


def called_by(call: ast.Call) -> ast.expr | None:
    """Return what a call has as the type of an event; None for other calls."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in EMITTERS:
        return None
    named = {word.arg: word.value for word in call.keywords}
    return named.get("type", call.args[0] if call.args else None)


async def test_every_type_that_the_code_emits_is_in_the_catalogue(house: House):
    """And what the catalogue calls emitted is: of resources the test above sees that."""
    known = {name for name, type in (await types_of(house)).items() if type["status"] == "emitted"}
    found = set(of_the_code())
    assert {(file, name) for file, name in found if name not in known} == set()
    of_resources = {name for name in known if name.endswith((".created", ".updated", ".deleted"))}
    lasting = {each.name for each in (*EXECUTIONS, *SIMULATIONS)}
    assert {name for _, name in found} == known - of_resources - lasting
