"""The published description of the stream: valid by itself, whole, and what is served."""

from collections.abc import Iterator
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from hypothesis import given
from jsonschema import Draft7Validator, Draft202012Validator

from hub.server import Server
from hub.stream.asyncapi import REPLIES, UNASKED, AsyncApiDoor, document
from hub.stream.commands import Refusal, RefusedChannel, Subscribe
from hub.stream.protocol import CLIENT_FRAMES
from hub.stream.schemas import CLIENT, SERVER
from hub.stream.schemas import document as schema_of
from tests.harness.frame_schemas import is_well_formed
from tests.hub.stream.receiving import protocol
from tests.hub.stream.test_any_frame import FRAME

DOCUMENT = document()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def found(reference: str, document: Any) -> Any:
    assert reference.startswith("#/"), reference
    for step in reference[2:].split("/"):
        document = document[step]
    return document


class TestSchemas:
    """One for each frame, and they agree with what the protocol takes."""

    def test_every_client_frame_has_one(self):
        assert set(CLIENT) == set(CLIENT_FRAMES) == set(REPLIES)

    @pytest.mark.parametrize("frames", [CLIENT, SERVER], ids=["client", "server"])
    def test_they_are_json_schema(self, frames: Any):
        """By the meta-schema of 2020-12, and no reference leads nowhere."""
        schema = schema_of(frames)
        Draft202012Validator.check_schema(schema)
        assert all(found(each, schema) for each in references(schema))
        assert not Draft202012Validator(schema).is_valid({"type": "nope"})

    @given(FRAME)
    def test_what_the_schema_allows_the_protocol_understands(self, frame: Any):
        """A well-formed frame is refused for what it asks, never for its form."""
        if not is_well_formed(frame):
            return
        try:
            text = orjson.dumps(frame).decode()
        except orjson.JSONEncodeError:  # beyond 64 bits numbers are read as fractions
            return
        command = protocol().receive(text)
        errors = [command.error] if isinstance(command, Refusal) else []
        if isinstance(command, Subscribe):
            errors = [each.error for each in command.items if isinstance(each, RefusedChannel)]
        # Formats (times, ids) are told by schemas and checked by few validators; this one does not. What a filter may say, and
        # which channels have deltas and a pace, stands on a page of its own.
        pages = ("since", "after_event", "filter", "delta", "speed", "max_gap_ms")
        assert {each.code for each in errors} <= {"CHANNEL_NOT_FOUND", "TOO_MANY_CHANNELS"} or all(
            detail.field.partition(".")[0] in pages for each in errors for detail in each.details
        )


class TestDocument:
    """AsyncAPI 3.0, as far as can be told without its meta-schema: the objects and members that it demands."""

    def test_it_has_what_the_standard_demands(self):
        assert DOCUMENT["asyncapi"] == "3.0.0"
        assert {"title", "version"} <= set(DOCUMENT["info"])
        for channel in DOCUMENT["channels"].values():
            assert channel["address"].startswith("/")
        for operation in DOCUMENT["operations"].values():
            assert operation["action"] in ("send", "receive")
            assert set(operation["channel"]) == {"$ref"}
        allowed = {"messages", "schemas", "securitySchemes", "servers", "channels", "operations"}
        assert set(DOCUMENT["components"]) <= allowed

    def test_every_reference_leads_somewhere(self):
        assert all(found(each, DOCUMENT) is not None for each in references(DOCUMENT))

    def test_operations_name_messages_of_their_channel(self):
        """AsyncAPI 3.0, Operation Object: by reference to the channel's messages, not to those of components."""
        for operation in DOCUMENT["operations"].values():
            named = operation["messages"] + operation.get("reply", {}).get("messages", [])
            channel = operation["channel"]["$ref"]
            assert all(each["$ref"].startswith(f"{channel}/messages/") for each in named)

    def test_every_frame_is_received_sent_or_a_reply(self):
        """Nothing is described that never comes."""
        replies = {*REPLIES.values(), "error"}
        assert set(CLIENT) == set(REPLIES)
        assert set(SERVER) == replies | set(UNASKED)

    def test_schemas_stand_by_themselves(self):
        """AsyncAPI's own schema language is a superset of draft 7."""
        for schema in DOCUMENT["components"]["schemas"].values():
            Draft7Validator.check_schema(schema)

    async def test_it_is_served_to_everybody(self):
        """Without a credential, to tools on any page."""
        app = web.Application()
        AsyncApiDoor().add_to(app)
        server = Server(app, web.RequestHandler)
        url = await server.listen("127.0.0.1", 0)
        async with aiohttp.ClientSession() as session, session.get(f"{url}/asyncapi.json") as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert orjson.loads(await answer.read()) == DOCUMENT
        await server.close(within=1.0)
