"""Filters of a subscription: JSON in, a predicate over events out. Pure; docs/views.md has the language.

    {"type": "logistics"}                              a member of `data`, by its name or a path with dots
    {"data.load": {"$gt": 10, "$lte": 90}}             operators on it; all must hold
    {"$type": {"$prefix": "twin."}}                    a member of the envelope: $id $type $source $subject $time
    {"$or": [{...}, {...}]}, {"$not": {...}}           other filters

No regular expressions, and nothing that loops over what it is given: a filter costs at most MOST_NODES tests an event, of at most
MOST_PARTS look-ups each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import orjson

from core.errors import Detail, HubError

MOST_BYTES = 4_096
MOST_DEPTH = 6
MOST_NODES = 32
MOST_VALUES = 128
MOST_PARTS = 8
MOST_NAME = 64
# Named with a dollar: what is beside `data` in an event.
ENVELOPE = ("id", "type", "source", "subject", "time")

Predicate = Callable[[Mapping[str, Any]], bool]
# Of a value; _MISSING where there is none.
_Test = Callable[[Any], bool]
_MISSING: Any = object()
_ALL_OF = "$and"
_ANY_OF = "$or"
_NONE_OF = "$not"


@dataclass(frozen=True, slots=True)
class Filter:
    """A predicate over events; two are equal where their canonical `text` is.

    cost          how many tests it makes at most
    is_of_state   it names nothing but `data`, so it tells resources apart, and not kinds of events
    matches       the predicate, over an event's envelope with its data
    """

    text: str
    cost: int
    is_of_state: bool
    matches: Predicate = field(compare=False, repr=False)


def parse_filter(value: Any, place: str = "filter") -> Filter:
    """Return the filter that `value` is. Raises HubError VALIDATION_ERROR with the place in it that is wrong."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as too_deep:
        raise _wrong(place, "INVALID_FORMAT", "It is nested too deeply") from too_deep
    if len(text) > MOST_BYTES:
        raise _wrong(place, "VALUE_OUT_OF_RANGE", f"It has at most {MOST_BYTES} bytes as JSON")
    reading = _Reading()
    matches = reading.filter_of(value, place, MOST_DEPTH)
    return Filter(text.decode(), reading.nodes, not reading.names_envelope, matches)


class _Reading:
    """Reads one filter, and counts."""

    def __init__(self) -> None:
        self.nodes = 0
        self.names_envelope = False

    def filter_of(self, value: Any, place: str, depth: int) -> Predicate:
        if not isinstance(value, dict) or not value:
            raise _wrong(place, "INVALID_FORMAT", "It is an object with at least one member")
        _check_depth(place, depth)
        named = cast("dict[str, Any]", value)
        return _all([self._member(name, each, f"{place}.{name}", depth) for name, each in sorted(named.items())])

    def _member(self, name: str, value: Any, place: str, depth: int) -> Predicate:
        if name in (_ALL_OF, _ANY_OF):
            parts = self._filters_of(value, place, depth - 1)
            return _all(parts) if name == _ALL_OF else lambda event: any(part(event) for part in parts)
        if name == _NONE_OF:
            inner = self.filter_of(value, place, depth - 1)
            return lambda event: not inner(event)
        return self._at(name, self._test_of(value, place, depth - 1), place)

    def _filters_of(self, value: Any, place: str, depth: int) -> list[Predicate]:
        if not isinstance(value, list) or not value:
            raise _wrong(place, "INVALID_FORMAT", "It is a list of at least one filter")
        return [self.filter_of(each, f"{place}[{index}]", depth) for index, each in enumerate(cast("list[Any]", value))]

    def _at(self, name: str, test: _Test, place: str) -> Predicate:
        """Return a test of the member that `name` names."""
        if name.startswith("$"):
            if name[1:] not in ENVELOPE:
                known = ", ".join(["$and", "$or", "$not", *(f"${each}" for each in ENVELOPE)])
                raise _wrong(place, "INVALID_FORMAT", f"Beside the names of members there are {known}")
            self.names_envelope = True
            key = name[1:]
            return lambda event: test(event.get(key, _MISSING))
        first, *others = name.split(".")
        if len(others) >= MOST_PARTS or not all(0 < len(part) <= MOST_NAME for part in (first, *others)):
            limits = f"1 to {MOST_PARTS} names of 1 to {MOST_NAME} characters, with dots between"
            raise _wrong(place, "INVALID_FORMAT", f"A path has {limits}")
        if not others:
            return lambda event: test(_member_of(event.get("data"), first))
        return lambda event: test(_along(event.get("data"), (first, *others)))

    def _test_of(self, value: Any, place: str, depth: int) -> _Test:
        if not isinstance(value, dict):
            return self._equal_to(value, place)
        _check_depth(place, depth)
        named = cast("dict[str, Any]", value)
        if not named or not all(name in self._operators for name in named):
            known = ", ".join(self._operators)
            raise _wrong(place, "INVALID_FORMAT", f"It is a value, or an object of operators: {known}")
        tests = [self._operators[name](self, each, f"{place}.{name}", depth) for name, each in sorted(named.items())]
        if len(tests) == 1:
            return tests[0]
        return lambda value: all(test(value) for test in tests)

    def _equal_to(self, wanted: Any, place: str, _depth: int = 0) -> _Test:
        key = _key_of(wanted, place)
        self._count(place)
        if wanted is None or isinstance(wanted, bool):
            return lambda value: value is wanted
        return lambda value: value == wanted and _key(value) == key

    def _one_of(self, wanted: Any, place: str, _depth: int) -> _Test:
        if not isinstance(wanted, list) or not 0 < len(cast("list[Any]", wanted)) <= MOST_VALUES:
            raise _wrong(place, "INVALID_FORMAT", f"It is a list of 1 to {MOST_VALUES} values")
        keys = {_key_of(each, f"{place}[{index}]") for index, each in enumerate(cast("list[Any]", wanted))}
        self._count(place)
        return lambda value: _key(value) in keys

    def _compared(self, wanted: Any, place: str, compare: Callable[[Any, Any], bool]) -> _Test:
        is_number = isinstance(wanted, int | float) and not isinstance(wanted, bool)
        if not is_number and not isinstance(wanted, str):
            raise _wrong(place, "INVALID_FORMAT", "It is a number or a string")
        self._count(place)
        if is_number:
            return lambda value: (
                isinstance(value, int | float) and not isinstance(value, bool) and compare(value, wanted)
            )
        return lambda value: isinstance(value, str) and compare(value, wanted)

    def _above(self, wanted: Any, place: str, _depth: int) -> _Test:
        return self._compared(wanted, place, lambda value, bound: value > bound)

    def _from(self, wanted: Any, place: str, _depth: int) -> _Test:
        return self._compared(wanted, place, lambda value, bound: value >= bound)

    def _below(self, wanted: Any, place: str, _depth: int) -> _Test:
        return self._compared(wanted, place, lambda value, bound: value < bound)

    def _up_to(self, wanted: Any, place: str, _depth: int) -> _Test:
        return self._compared(wanted, place, lambda value, bound: value <= bound)

    def _exists(self, wanted: Any, place: str, _depth: int) -> _Test:
        if not isinstance(wanted, bool):
            raise _wrong(place, "INVALID_FORMAT", "It is true or false")
        self._count(place)
        return lambda value: (value is not _MISSING) is wanted

    def _begins_with(self, wanted: Any, place: str, _depth: int) -> _Test:
        if not isinstance(wanted, str):
            raise _wrong(place, "INVALID_FORMAT", "It is a string")
        self._count(place)
        return lambda value: isinstance(value, str) and value.startswith(wanted)

    def _not(self, wanted: Any, place: str, depth: int) -> _Test:
        inner = self._test_of(wanted, place, depth - 1)
        return lambda value: not inner(value)

    def _count(self, place: str) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise _wrong(place, "VALUE_OUT_OF_RANGE", f"A filter makes at most {MOST_NODES} tests")

    # What stands after an operator, its place, and how deep it may go on.
    _operators: ClassVar[Mapping[str, Callable[[Any, Any, str, int], _Test]]] = {
        "$eq": _equal_to,
        "$in": _one_of,
        "$gt": _above,
        "$gte": _from,
        "$lt": _below,
        "$lte": _up_to,
        "$exists": _exists,
        "$prefix": _begins_with,
        "$not": _not,
    }


def _all(parts: list[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else lambda event: all(part(event) for part in parts)


def _member_of(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name, _MISSING) if isinstance(value, dict) else _MISSING


def _along(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = _member_of(value, name)
    return value


def _key(value: Any) -> Any:
    """Return what is equal for equal JSON values: true is no 1 there. None stands for what equals nothing that a filter names."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else ("bool", value)
    if isinstance(value, int | float):
        return ("number", value)
    return ("string", value) if isinstance(value, str) else None


def _key_of(wanted: Any, place: str) -> Any:
    key = _key(wanted)
    if key is None:
        raise _wrong(place, "INVALID_FORMAT", "It is a string, a number, true, false or null")
    return key


def _check_depth(place: str, depth: int) -> None:
    if depth <= 0:
        raise _wrong(place, "VALUE_OUT_OF_RANGE", f"A filter is at most {MOST_DEPTH} levels deep")


def _wrong(place: str, code: str, message: str) -> HubError:
    # A place repeats what the client wrote: it is kept short.
    shown = place if len(place) <= 200 else f"{place[:197]}..."
    return HubError("VALIDATION_ERROR", details=(Detail(shown, code, message),))
