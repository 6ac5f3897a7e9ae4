"""JSON Schemas of event types, and of twins' data. A schema is a program of a client: what it costs at most stands fast before.

compiled()   refuses a schema that is none, that reaches outside of itself, or whose work cannot be told, and makes it ready
Compiled     looks at data, with an account of the work

Refused are references that lead back to themselves and `unevaluated...`, whose work grows with powers of the depth; other
dialects; keywords that nobody knows, which are mistakes. Patterns are run by an engine without backtracking (linear in the text).
What is left looks at each value of the data once for each value of the schema, at most.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from core.errors import Detail, HubError
from core.operations.places import field_path

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MOST_BYTES = 32 * 1024
# Counted again wherever a reference leads to them.
MOST_VALUES = 2_000
MOST_LEVELS = 32
MOST_PATTERNS = 50
LONGEST_PATTERN = 500
# Bytes of a compiled pattern. Below it the worst text takes a microsecond a character.
_PATTERNS = RegexOptions(size_limit=32_000, dfa_size_limit=200_000)
# Of a request, in values of the schema that are held against values of data: 10 ns each, 200 at worst, so it holds the loop for
# a fifth of a second at most. A character before a pattern counts as several.
MOST_WORK = 1_000_000
_WORK_OF_A_CHARACTER = 3
# Up to here all that is wrong is told: each error takes a microsecond and half a kilobyte.
_MOST_TOLD_WORK = 20_000
_MOST_TOLD = 50
_LONGEST_MESSAGE = 300

_OF_NAMES = frozenset({"properties", "patternProperties", "dependentSchemas"})
_OF_SEVERAL = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_OF_ONE = frozenset({"items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"})
_OF_SCHEMAS = _OF_NAMES | _OF_SEVERAL | _OF_ONE
_KEYWORDS = """
type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength maxItems minItems
uniqueItems maxContains minContains maxProperties minProperties required dependentRequired pattern format $schema
title description default deprecated readOnly writeOnly examples $comment
"""
_PLAIN = frozenset(_KEYWORDS.split())
_FORMATS = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uri-reference", "uuid"}
)
_REFERENCE = re.compile(r"#/\$defs/([A-Za-z0-9._-]{1,100})")
_NO_PATTERN = (
    "Patterns have no look-around, no references to groups, and no repetition of many characters of many kinds"
)
_BOUNDS = re.compile(r"(exclusive)?(min|max)imum|(min|max)(Length|Items|Properties|Contains)|multipleOf")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schema that is ready: how many values and patterns it has, references followed."""

    validator: Draft202012Validator
    values: int
    patterns: int

    def work(self, text: bytes) -> int:
        """Return what it costs at most to look at the JSON `text`."""
        values = text.count(b",") + text.count(b"[") + text.count(b"{") + 1
        return self.values * values + self.patterns * _WORK_OF_A_CHARACTER * len(text)

    def problems(self, data: Any, work: int, place: str) -> Sequence[Detail]:
        """Return what is wrong with `data`, which stands at `place`; of what is large, only that something is."""
        if self.validator.is_valid(data):
            return ()
        if work > _MOST_TOLD_WORK:
            return (Detail(place, "INVALID_FORMAT", "Is not as its schema says"),)
        found = [detail for error in self.validator.iter_errors(data) for detail in _details(error, place)]
        return found[:_MOST_TOLD]


def compiled(schema: Any, place: str) -> Compiled:
    """Make a schema ready; raises HubError VALIDATION_ERROR with where below `place` it is not what can be taken."""
    if len(orjson.dumps(schema)) > MOST_BYTES:
        _refuse(place, f"A schema has at most {MOST_BYTES >> 10} KiB", "VALUE_OUT_OF_RANGE")
    survey = _Survey(schema)
    survey.look(schema, place)
    try:
        validator = Draft202012Validator(
            schema, pattern_options=_PATTERNS, validate_formats=True, offline=True, mask="It"
        )
    except ValidationError as error:
        message = _NO_PATTERN if error.kind.name == "format" else error.message
        _refuse(field_path((place, *error.instance_path)), message)
    return Compiled(validator, survey.values, survey.patterns)


class _Survey:
    """Goes through a schema as a validator would, and counts."""

    def __init__(self, schema: Any) -> None:
        named = schema.get("$defs") if isinstance(schema, Mapping) else None
        self._definitions: Mapping[str, Any] = named if isinstance(named, Mapping) else {}
        self.values = 0
        self.patterns = 0

    def look(self, schema: Any, place: str) -> None:
        """Look at the whole; each definition too, whether something refers to it or not."""
        for name, each in self._definitions.items():
            self._schema(each, f"{place}.$defs.{name}", 1, (name,))
        self._schema(schema, place, 1, ())

    def _schema(self, schema: Any, place: str, level: int, within: tuple[str, ...]) -> None:
        self._count(1, place)
        if level > MOST_LEVELS:
            _refuse(place, f"A schema has at most {MOST_LEVELS} levels, references followed", "VALUE_OUT_OF_RANGE")
        if not isinstance(schema, Mapping):
            return  # true, false, or what the validator refuses
        members: Mapping[str, Any] = schema  # pyright: ignore[reportUnknownVariableType] - JSON's objects have string keys
        for name, value in members.items():
            here = f"{place}.{name}"
            if name == "$ref":
                self._follow(value, here, level, within)
            elif name in _OF_SCHEMAS:
                for each, where in self._inner(name, value, here):
                    self._schema(each, where, level + 1, within)
            elif name != "$defs" or within or level > 1:
                self._keyword(name, value, here)

    def _inner(self, name: str, value: Any, place: str) -> Iterator[tuple[Any, str]]:
        if name in _OF_ONE:
            yield value, place
        elif name in _OF_SEVERAL and isinstance(value, list):
            yield from ((each, f"{place}[{index}]") for index, each in enumerate(value))  # pyright: ignore[reportUnknownArgumentType]
        elif name in _OF_NAMES and isinstance(value, Mapping):
            for key, each in value.items():  # pyright: ignore[reportUnknownVariableType] - JSON
                if name == "patternProperties":
                    self._pattern(key, place)
                yield each, f"{place}.{key}"

    def _keyword(self, name: str, value: Any, place: str) -> None:
        if name == "pattern":
            self._pattern(value, place)
        elif name == "format" and value not in _FORMATS:
            _refuse(place, f"Formats are {', '.join(sorted(_FORMATS))}")
        elif name == "$schema" and value != DIALECT:
            _refuse(place, f"Schemas are those of {DIALECT}")
        elif name not in _PLAIN and not name.startswith("x-"):
            _refuse(place, "There is no such keyword here; docs/events.md tells which there are")
        self._count(_values_in(value), place)

    def _follow(self, reference: Any, place: str, level: int, within: tuple[str, ...]) -> None:
        matched = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
        name = "" if matched is None else matched[1]
        if name not in self._definitions:
            _refuse(place, "References are #/$defs/<name>, of a definition at the top of the schema")
        if name in within:
            _refuse(place, "A definition does not refer to itself, nor to one that refers to it")
        self._schema(self._definitions[name], place, level + 1, (*within, name))

    def _pattern(self, pattern: Any, place: str) -> None:
        self.patterns += 1
        if self.patterns > MOST_PATTERNS or (isinstance(pattern, str) and len(pattern) > LONGEST_PATTERN):
            limit = f"A schema has at most {MOST_PATTERNS} patterns, each of at most {LONGEST_PATTERN} characters"
            _refuse(place, limit, "VALUE_OUT_OF_RANGE")

    def _count(self, values: int, place: str) -> None:
        self.values += values
        if self.values > MOST_VALUES:
            limit = f"A schema has at most {MOST_VALUES} values, those of a definition wherever it is referred to"
            _refuse(place, limit, "VALUE_OUT_OF_RANGE")


def _values_in(value: Any) -> int:
    text = orjson.dumps(value)
    return text.count(b",") + text.count(b"[") + text.count(b"{") + 1


def _details(error: ValidationError, place: str) -> Iterator[Detail]:
    path = (place, *error.instance_path)
    said = error.kind.as_dict()
    if error.kind.name == "required":
        yield Detail(field_path((*path, said["property"])), "MISSING_REQUIRED_FIELD", "Field required")
    elif error.kind.name == "additionalProperties":
        for name in said["unexpected"]:
            yield Detail(field_path((*path, name)), "INVALID_FORMAT", "Its schema has no such field")
    else:
        code = "VALUE_OUT_OF_RANGE" if _BOUNDS.fullmatch(error.kind.name) else "INVALID_FORMAT"
        yield Detail(field_path(path), code, error.message[:_LONGEST_MESSAGE])


def _refuse(place: str, message: str, code: str = "INVALID_FORMAT") -> NoReturn:
    detail = Detail(place[:_LONGEST_MESSAGE], code, message[:_LONGEST_MESSAGE])
    raise HubError("VALIDATION_ERROR", details=[detail])
