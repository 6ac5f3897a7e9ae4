"""The state machine does what sdks/vectors says, to which the other SDKs are held as well."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aimatrix.live.events import Event, Reset
from aimatrix.live.machine import Machine
from aimatrix.live.signals import (
    Answer,
    Bookmark,
    Changed,
    Connect,
    Drop,
    Failed,
    Joined,
    Left,
    NeedCredential,
    Other,
    Output,
    Refused,
    Send,
    State,
    Warned,
    Welcomed,
)

VECTORS = Path(__file__).resolve().parents[3] / "sdks" / "vectors"
Told = dict[str, Any]


def vectors() -> Iterator[Any]:
    """Every vector of every file."""
    for path in sorted(VECTORS.glob("*.json")):
        for vector in json.loads(path.read_text()).get("vectors", ()):
            yield pytest.param(vector, id=f"{path.stem}-{vector['name']}")


def state(changed: Changed) -> Told:
    """Return a change of state in the words of the vectors."""
    told: Told = {"state": str(changed.state)}
    if changed.state in (State.WAITING, State.STOPPED):
        told["why"] = changed.why
    more = {
        "until": changed.until,
        "credential": changed.is_of_credential,
        "code": changed.code,
        "status": changed.status,
    }
    return told | {name: value for name, value in more.items() if value is not None}


def frame(output: Any) -> Told:
    """Return what hands on a frame."""
    return {"frame": output.frame}


# What the vectors call an output, and what they say of it. Bookmark is Python's own.
OUTPUTS: Mapping[type, tuple[str, Callable[[Any], Told]]] = {
    Changed: ("state", state),
    Event: ("event", frame),
    Reset: ("reset", frame),
    Welcomed: ("welcome", frame),
    Send: ("send", frame),
    Other: ("other", frame),
    Connect: ("connect", lambda each: {"transport": each.transport}),
    NeedCredential: ("credential", lambda each: {"ask": each.ask, "why": each.why}),
    Drop: ("drop", lambda _: {}),
    Joined: ("joined", lambda each: {"item": each.item}),
    Refused: ("refused", lambda each: {"channel": each.channel, "error": each.error, "final": each.is_final}),
    Left: ("left", lambda each: {"channel": each.channel, "error": each.error}),
    Answer: ("answer", lambda each: {"key": each.key, "frame": each.frame}),
    Failed: ("failed", lambda each: {"key": each.key, "error": each.error}),
    Warned: ("warning", lambda each: {"error": each.error}),
}


def told(output: Output) -> Told:
    """Return an output in the words of the vectors."""
    name, more = OUTPUTS[type(output)]
    return {"type": name, **more(output)}


def credential(machine: Machine, now: float, given: Mapping[str, Any]) -> None:
    """Answer a call for a credential."""
    if "error" in given:
        machine.no_credential(now, given["ask"], given["error"])
    else:
        machine.credential(now, given["ask"], given["token"])


def closed(machine: Machine, now: float, given: Mapping[str, Any]) -> None:
    """End the link."""
    machine.closed(
        now,
        given["code"],
        given.get("reason", ""),
        status=given.get("status"),
        retry_after=given.get("retry_after_ms"),
    )


INPUTS: Mapping[str, Callable[[Machine, float, Mapping[str, Any]], object]] = {
    "open": lambda machine, now, _: machine.open(now),
    "close": lambda machine, now, _: machine.close(now),
    "credential": credential,
    "opened": lambda machine, now, _: machine.opened(now),
    "closed": closed,
    "frame": lambda machine, now, given: machine.frame(now, given["frame"]),
    "time": lambda machine, now, _: machine.time(now),
    "subscribe": lambda machine, now, given: machine.subscribe(now, given["channels"]),
    "unsubscribe": lambda machine, now, given: machine.unsubscribe(now, given["channels"]),
    "hold": lambda machine, now, given: machine.hold(now, given["channel"]),
    "resume": lambda machine, now, given: machine.resume(now, given["channel"]),
    "request": lambda machine, now, given: machine.request(now, given["key"], given["frame"], given["timeout_ms"]),
    "abandon": lambda machine, _, given: machine.abandon(given["key"]),
    "online": lambda machine, now, _: machine.check(now),
    "visible": lambda machine, now, _: machine.check(now),
    "woken": lambda machine, now, _: machine.check(now),
    "offline": lambda machine, now, _: machine.offline(now),
    "hidden": lambda _machine, _now, _given: None,
}


@pytest.mark.parametrize("vector", list(vectors()))
def test_machine_does_as_the_vector_says(vector: Mapping[str, Any]):
    """Step by step; a vector gives the draws of each step, and neither fewer nor more are taken."""
    draws: list[float] = []
    machine = Machine(lambda: draws.pop(0), has_fallback=bool(vector["options"].get("fallback")))
    for number, step in enumerate(vector["steps"]):
        draws[:] = step.get("random", ())
        INPUTS[step["in"]["type"]](machine, step["at"], step["in"])
        outputs = [told(output) for output in machine.outputs() if not isinstance(output, Bookmark)]
        where = f"step {number} at {step['at']}: {step['in']}"
        assert outputs == step["out"], where
        assert draws == [], where
        for channel, place in step.get("places", {}).items():
            mine = machine.place(channel)
            assert (mine and {"offset": mine.offset, "epoch": mine.epoch}) == place, f"{where}: {channel}"
