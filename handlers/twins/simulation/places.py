"""Refusals whose fields are places in what was sent: of a part that may be of several kinds, pydantic names the kind besides."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from core.errors import Detail, HubError
from core.operations.validation import field_path, invalid

# Said of a value by each kind that it could have been of: of an object that it is no number, of a number that it is no object.
_OF_ANOTHER_KIND = {
    "Input should be a valid number",
    "Input should be a valid dictionary or object to extract fields from",
}


def refusal(place: str, value: Any, error: ValidationError) -> HubError:
    """Return VALIDATION_ERROR with what pydantic found in `value`, which stands at `place`."""
    told = error.errors(include_url=False, include_context=False, include_input=False)
    paths = [_joined(place, _within(value, item["loc"], is_missing=item["type"] == "missing")) for item in told]
    found = [
        Detail(path, each.code, each.message.replace("tuple", "list").replace("Tuple", "List"))
        for path, each in zip(paths, invalid(error).details, strict=True)
    ]
    return HubError("VALIDATION_ERROR", details=list(_meant(found)))


def _within(value: Any, location: Sequence[int | str], *, is_missing: bool) -> Iterator[int | str]:
    """Yield the steps that lead into `value`, and the name of what is missing there."""
    holder: Any = value
    for step in location:
        if isinstance(step, str):
            is_there = isinstance(holder, Mapping) and step in holder
        else:
            is_there = isinstance(holder, list | tuple) and step < len(holder)
        if is_there:
            holder = _inside(holder, step)
            yield step
    if is_missing:
        yield location[-1]


def _inside(holder: Any, step: int | str) -> Any:
    return holder[step]


def _joined(place: str, steps: Iterator[int | str]) -> str:
    # The first step of a location is left out where it is "body": `place` is before it.
    return field_path((place, *steps))


def _meant(found: Sequence[Detail]) -> Iterator[Detail]:
    """Yield what is not only said because the value is of another kind."""
    for each in dict.fromkeys(found):
        others = [one for one in found if one is not each and one.field.startswith(each.field)]
        if not (each.message in _OF_ANOTHER_KIND and any(one.message not in _OF_ANOTHER_KIND for one in others)):
            yield each
