"""Where in what was sent something is wrong, as callers know the place: `capabilities[2].name`.

Pydantic's locations have more: of a part that may be of several kinds, the kind; of a name in an object, that it is a name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.errors import Detail

# Said of a value by each kind that it could have been of: of an object that it is no number, of a number that it is no object.
_OF_ANOTHER_KIND = {
    "Input should be a valid number",
    "Input should be a valid string",
    "Input should be a valid dictionary or object to extract fields from",
}


def field_path(location: Sequence[int | str]) -> str:
    """Write a location as callers know the field. What holds the body is left out."""
    path = ""
    for step in location[1:] if location and location[0] == "body" and len(location) > 1 else location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path


def steps_within(value: Any, location: Sequence[int | str], *, is_missing: bool) -> Iterator[int | str]:
    """Yield the steps of a location that lead into `value`, and last the name of what is missing there."""
    holder: Any = value
    for at, step in enumerate(location):
        if isinstance(step, int):
            # Of a text that was taken apart, too.
            is_there = isinstance(holder, list | tuple) and step < len(holder)  # pyright: ignore[reportUnknownArgumentType] - JSON
            holder = holder[step] if is_there else None
            yield step
        elif isinstance(holder, Mapping) and step in holder:
            holder = holder[step]
            yield step
        elif is_missing and at == len(location) - 1:
            yield step


def meant(found: Sequence[Detail]) -> Iterator[Detail]:
    """Yield what is not only said because a value is of another kind, each once."""
    for each in dict.fromkeys(found):
        others = [one for one in found if one is not each and _is_within(one.field, each.field)]
        if not (each.message in _OF_ANOTHER_KIND and any(one.message not in _OF_ANOTHER_KIND for one in others)):
            yield each


def _is_within(field: str, place: str) -> bool:
    return not place or field == place or field.startswith((f"{place}.", f"{place}["))
