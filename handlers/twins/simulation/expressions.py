"""Expressions that people write into models: numbers, names, arithmetic, comparisons and a few functions, and nothing else.

    comparison   sum [(< | <= | > | >= | == | !=) sum]        1 where it holds, else 0
    sum          product {(+ | -) product}
    product      signed {(* | /) signed}
    signed       - signed | power
    power        atom [^ signed]                              2 ^ 3 ^ 2 is 2 ^ 9, -2 ^ 2 is -4
    atom         number | name | function(comparison, ...) | (comparison)

There are no strings, attributes, assignments or loops: an expression costs at most what its 500 characters can say.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn

from handlers.twins.simulation.model import LONGEST_EXPRESSION
from handlers.twins.simulation.replication import SimulationError

MOST_DEPTH = 50

Values = Sequence[float]
Evaluated = Callable[[Values], float]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<sign><=|>=|==|!=|[-+*/^()<>,]))",
    re.ASCII,
)
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": float.__lt__,
    "<=": float.__le__,
    ">": float.__gt__,
    ">=": float.__ge__,
    "==": float.__eq__,
    "!=": float.__ne__,
}
# How many arguments each has: at least, at most.
FUNCTIONS: dict[str, tuple[int, int]] = {
    "abs": (1, 1),
    "clip": (3, 3),
    "exp": (1, 1),
    "if": (3, 3),
    "log": (1, 1),
    "max": (1, 100),
    "min": (1, 100),
    "pow": (2, 2),
    "sqrt": (1, 1),
}
_OF_ONE: dict[str, Callable[[float], float]] = {"abs": abs, "exp": math.exp, "log": math.log, "sqrt": math.sqrt}


class ExpressionError(ValueError):
    """An expression that cannot be read: what is wrong, and at which column, from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"{message} (column {column})")
        self.column = column


def compiled(text: str, names: Sequence[str]) -> Evaluated:
    """Return what gives the value of `text` for values in the order of `names`.

    ExpressionError where it cannot be read or says a name that is not among `names`. The values are finite, and so is what comes
    out: SimulationError VALIDATION_ERROR with the column where it cannot be, as of a division by zero.
    """
    if len(text) > LONGEST_EXPRESSION:
        raise ExpressionError(f"An expression has at most {LONGEST_EXPRESSION} characters", LONGEST_EXPRESSION + 1)
    return _Parser(text, names).whole()


class _Parser:
    def __init__(self, text: str, names: Sequence[str]) -> None:
        self._tokens = _tokens(text)
        self._places = {name: place for place, name in enumerate(names)}
        self._at = 0
        self._depth = 0

    def whole(self) -> Evaluated:
        value = self._comparison()
        kind, word, column = self._tokens[self._at]
        if kind != "end":
            raise ExpressionError(f"An operator is missing before {word!r}", column)
        return value

    def _taken(self, *words: str) -> tuple[str, int] | None:
        """Take the next sign, if it is one of these."""
        kind, word, column = self._tokens[self._at]
        if kind != "sign" or word not in words:
            return None
        self._at += 1
        return word, column

    def _need(self, word: str) -> None:
        if self._taken(word) is None:
            raise ExpressionError(f"{word!r} is missing", self._tokens[self._at][2])

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise ExpressionError(f"An expression is at most {MOST_DEPTH} levels deep", self._tokens[self._at][2])

    def _comparison(self) -> Evaluated:
        self._deeper()
        left = self._sum()
        if taken := self._taken(*_COMPARED):
            left = _comparing(_COMPARED[taken[0]], left, self._sum())
            if again := self._taken(*_COMPARED):
                raise ExpressionError("Only two values are compared: use parentheses", again[1])
        self._depth -= 1
        return left

    def _sum(self) -> Evaluated:
        left = self._product()
        while taken := self._taken("+", "-"):
            left = (_adding if taken[0] == "+" else _subtracting)(left, self._product(), taken[1])
        return left

    def _product(self) -> Evaluated:
        left = self._signed()
        while taken := self._taken("*", "/"):
            left = (_multiplying if taken[0] == "*" else _dividing)(left, self._signed(), taken[1])
        return left

    def _signed(self) -> Evaluated:
        if self._taken("-") is None:
            return self._power()
        self._deeper()
        value = self._signed()
        self._depth -= 1
        return lambda values: -value(values)

    def _power(self) -> Evaluated:
        base = self._atom()
        if taken := self._taken("^"):
            self._deeper()
            base = _raising(base, self._signed(), taken[1])
            self._depth -= 1
        return base

    def _atom(self) -> Evaluated:
        if self._taken("("):
            value = self._comparison()
            self._need(")")
            return value
        kind, word, column = self._tokens[self._at]
        if kind in ("end", "sign"):
            raise ExpressionError("A value is missing", column)
        self._at += 1
        if kind == "number":
            return _constant(word, column)
        return self._function(word, column) if self._taken("(") else self._name(word, column)

    def _name(self, word: str, column: int) -> Evaluated:
        if (place := self._places.get(word)) is None:
            raise ExpressionError(f"There is no {word!r} here", column)
        return lambda values: values[place]

    def _function(self, word: str, column: int) -> Evaluated:
        if word not in FUNCTIONS:
            raise ExpressionError(f"There is no function {word!r}: there are {', '.join(FUNCTIONS)}", column)
        given = [self._comparison()]
        while self._taken(","):
            given.append(self._comparison())
        self._need(")")
        least, most = FUNCTIONS[word]
        if not least <= len(given) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise ExpressionError(f"{word} takes {wanted} values, not {len(given)}", column)
        return _calling(word, given, column)


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Return kind, word and column of each token, and an `end`."""
    found: list[tuple[str, str, int]] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place, end)
        if match is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            raise ExpressionError(f"{text[place]!r} is not part of an expression", place + 1)
        kind = str(match.lastgroup)
        found.append((kind, match[kind], match.start(kind) + 1))
        place = match.end()
    return [*found, ("end", "", end + 1)]


def _refuse(why: Literal["division by zero", "overflow", "no such value"], column: int) -> NoReturn:
    raise SimulationError("VALIDATION_ERROR", f"Column {column}: {why}")


def _constant(word: str, column: int) -> Evaluated:
    value = float(word)
    if math.isinf(value):
        raise ExpressionError("The number is too large", column)
    return lambda values: value


def _comparing(holds: Callable[[float, float], bool], left: Evaluated, right: Evaluated) -> Evaluated:
    return lambda values: 1.0 if holds(float(left(values)), float(right(values))) else 0.0


# A sum that is not finite less itself is not zero: cheaper than a call of isfinite.
def _adding(left: Evaluated, right: Evaluated, column: int) -> Evaluated:
    def value(values: Values) -> float:
        result = left(values) + right(values)
        return result if result - result == 0 else _refuse("overflow", column)

    return value


def _subtracting(left: Evaluated, right: Evaluated, column: int) -> Evaluated:
    def value(values: Values) -> float:
        result = left(values) - right(values)
        return result if result - result == 0 else _refuse("overflow", column)

    return value


def _multiplying(left: Evaluated, right: Evaluated, column: int) -> Evaluated:
    def value(values: Values) -> float:
        result = left(values) * right(values)
        return result if result - result == 0 else _refuse("overflow", column)

    return value


def _dividing(left: Evaluated, right: Evaluated, column: int) -> Evaluated:
    def value(values: Values) -> float:
        divisor = right(values)
        if divisor == 0:
            _refuse("division by zero", column)
        result = left(values) / divisor
        return result if result - result == 0 else _refuse("overflow", column)

    return value


def _raising(base: Evaluated, power: Evaluated, column: int) -> Evaluated:
    def value(values: Values) -> float:
        low, high = base(values), power(values)
        if low == 0 and high < 0:
            _refuse("division by zero", column)
        try:
            return math.pow(low, high)
        except OverflowError:
            _refuse("overflow", column)
        except ValueError:
            _refuse("no such value", column)

    return value


def _calling(word: str, given: list[Evaluated], column: int) -> Evaluated:
    """Return the value of a function of these; `if` looks at one of its two only."""
    first = given[0]
    if word in _OF_ONE:
        return _of_one(_OF_ONE[word], first, column)
    if word == "pow":
        return _raising(first, given[1], column)
    if word == "if":
        then, otherwise = given[1:]
        return lambda values: then(values) if first(values) != 0 else otherwise(values)
    if word == "clip":
        low, high = given[1:]
        return lambda values: max(low(values), min(first(values), high(values)))
    chosen: Callable[[list[float]], float] = min if word == "min" else max
    return lambda values: chosen([value(values) for value in given])


def _of_one(function: Callable[[float], float], argument: Evaluated, column: int) -> Evaluated:
    def value(values: Values) -> float:
        try:
            return function(argument(values))
        except OverflowError:
            _refuse("overflow", column)
        except ValueError:
            _refuse("no such value", column)

    return value


def names_in(text: str) -> set[str]:
    """Return the names that `text` says, functions among them. ExpressionError where it has other signs than an expression."""
    return {word for kind, word, _ in _tokens(text) if kind == "name"}
