"""A model's turn: it is asked, what it writes is told, and what failed is asked again."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from core.clock import Clock
from core.errors import HubError
from core.ids import new_id
from handlers.agents.executions.telling import Telling
from handlers.models.model import Delta, Finished, Model, ModelError, Request, ToolCall

# Of all that an execution writes, in characters.
LONGEST_TEXT = 256 * 1024
MOST_CALLS = 32
FIRST_WAIT_SECONDS = 0.5
# Between what two turns have written.
BREAK = "\n\n"


@dataclass(slots=True)
class Spoken:
    """What a turn came to."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    end: Finished | None = None


async def speak(model: Model, request: Request, telling: Telling, clock: Clock, *, attempts: int) -> Spoken:
    """Return a turn, told while it is written.

    Raises HubError: BAD_GATEWAY where the model fails `attempts` times, OUTPUT_INVALID where it cannot answer in the schema that
    is asked for, PAYLOAD_TOO_LARGE where it writes too much.
    """
    tried, wait = 0, FIRST_WAIT_SECONDS
    while True:
        before = telling.text
        try:
            return await _once(model, request, telling)
        except ModelError as error:
            tried += 1
            if error.is_final or tried >= attempts:
                code = "OUTPUT_INVALID" if error.is_unfit else "BAD_GATEWAY"
                raise HubError(code, f"The model gave no answer: {error}") from error
            await telling.flush()
            if telling.text != before:
                await telling.go_back(before)
            await clock.sleep(wait)
            wait *= 2


async def _once(model: Model, request: Request, telling: Telling) -> Spoken:
    spoken = Spoken()
    async with aclosing(model.respond(request)) as pieces:
        async for piece in pieces:
            match piece:
                case Delta(text=text) if text:
                    _write(text, spoken, telling)
                case ToolCall():
                    spoken.calls.append(_named_apart(piece, spoken.calls))
                case Finished():
                    spoken.end = piece
                case _:
                    pass
    if spoken.end is None:
        raise ModelError("the turn has no end")
    if len(spoken.calls) > MOST_CALLS:
        raise ModelError(f"it asks for over {MOST_CALLS} tools at once")
    return spoken


def _named_apart(call: ToolCall, others: Sequence[ToolCall]) -> ToolCall:
    """Return a call by an id that no other of the turn has: results are told from each other by it."""
    taken = {each.id for each in others}
    if call.id and call.id not in taken:
        return call
    return replace(call, id=f"{call.id or 'call'}_{len(others) + 1}_{new_id()}")


def _write(text: str, spoken: Spoken, telling: Telling) -> None:
    # PostgreSQL's text cannot hold it.
    text = text.replace("\x00", "")
    if not spoken.text and telling.characters:
        text = BREAK + text
    if telling.characters + len(text) > LONGEST_TEXT:
        raise HubError("PAYLOAD_TOO_LARGE", f"The answer has over {LONGEST_TEXT >> 10} KiB")
    spoken.text += text
    telling.write(text)
