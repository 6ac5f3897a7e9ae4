"""The channels of server-sent events do as sdks/vectors/events says, to which the other SDKs are held as well."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimatrix.live.followed import FollowedChannels

VECTORS = Path(__file__).resolve().parents[3] / "sdks" / "vectors" / "events" / "followed.json"


def vectors() -> Iterator[Any]:
    """Every vector."""
    for vector in json.loads(VECTORS.read_text())["vectors"]:
        yield pytest.param(vector["steps"], id=vector["name"])


def taken(followed: FollowedChannels, given: dict[str, Any]) -> list[Any]:
    """Give one input; return what the machine hears."""
    match given["type"]:
        case "subscribe":
            return list(followed.add(given))
        case "unsubscribe":
            for channel in given["channels"]:
                followed.remove(channel)
            return []
        case "message":
            return list(followed.take(given["frame"], given.get("cursor", "")))
        case _:
            return list(followed.refuse(given["error"]))


@pytest.mark.parametrize("steps", list(vectors()))
def test_channels_do_as_the_vector_says(steps: list[dict[str, Any]]):
    """Step by step: what is told, what is asked, where it goes on."""
    followed = FollowedChannels()
    for number, step in enumerate(steps):
        assert taken(followed, step["in"]) == step["out"], number
        if "query" in step:
            asked = [value if kind == "channel" else json.loads(value) for kind, value in followed.query()]
            assert asked == step["query"], number
        if "cursor" in step:
            assert followed.cursor() == step["cursor"], number
