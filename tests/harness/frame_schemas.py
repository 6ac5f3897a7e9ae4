"""Checks frames against the published schemas. Of what the hub sends nothing may be left that the schemas do not name."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from hub.stream.schemas import CLIENT, DEFS, SERVER, Schema


def closed(schema: Any) -> Any:
    """Return the schema with no room for members that it does not name."""
    if isinstance(schema, Mapping):
        made = {key: closed(each) for key, each in schema.items()}
        return {**made, "additionalProperties": False} if "properties" in schema else made
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


@cache
def validator(side: str, kind: str) -> Draft202012Validator:
    """Return what checks frames of a type: of the `client`, or of the `server`."""
    frames = CLIENT if side == "client" else SERVER
    schema: Schema = {"$defs": DEFS, **frames[kind]}
    return Draft202012Validator(schema if side == "client" else closed(schema))


def check_sent_by_hub(frame: Mapping[str, Any]) -> None:
    """Raise AssertionError where a frame of the hub is not as the schemas say."""
    kind = frame.get("type")
    assert kind in SERVER, f"no schema for {frame}"
    error = next(validator("server", str(kind)).iter_errors(frame), None)
    assert error is None, f"{kind}: {error.message} at {error.json_path} in {frame}"


def is_well_formed(frame: Mapping[str, Any]) -> bool:
    """Tell whether a client's frame is as the schemas say."""
    kind = frame.get("type")
    return isinstance(kind, str) and kind in CLIENT and validator("client", kind).is_valid(frame)
