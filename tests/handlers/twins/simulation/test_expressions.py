"""Expressions are arithmetic and nothing else: what they mean is Python's, what they can do is theirs."""

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.twins.simulation.expressions import FUNCTIONS, ExpressionError, compiled, names_in
from handlers.twins.simulation.replication import SimulationError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("16 / 4 / 2", 2),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("--3", 3),
        ("1e3 + .5 + 2.", 1002.5),
        ("a * b - t", 3 * 5 - 7),
        ("a < b", 1),
        ("a + 2 >= b + 1", 0),
        ("a != 3", 0),
        ("a == 3", 1),
        ("min(4, a, b)", 3),
        ("max(1)", 1),
        ("clip(9, 0, b)", 5),
        ("if(a > b, 1 / 0, 2)", 2),
        ("sqrt(abs(-16)) + exp(0) + log(1)", 5),
        ("pow(2, 10)", 1024),
    ],
)
def test_what_expressions_mean(text: str, value: float):
    """As on paper; `if` looks at one of its two."""
    assert compiled(text, ["a", "b", "t"])([3.0, 5.0, 7.0]) == value


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "A value is missing"),
        ("   ", 1, "A value is missing"),
        ("1 +", 4, "A value is missing"),
        ("(1", 3, "')' is missing"),
        ("1 2", 3, "An operator is missing before '2'"),
        ("a b", 3, "An operator is missing before 'b'"),
        ("2 * c", 5, "There is no 'c' here"),
        ("sin(1)", 1, "There is no function 'sin'"),
        ("min", 1, "There is no 'min' here"),
        ("if(1, 2)", 1, "if takes 3 values, not 2"),
        ("max()", 5, "A value is missing"),
        ("1 < 2 < 3", 7, "Only two values are compared"),
        ("1e999", 1, "The number is too large"),
        ("__import__('os')", 1, "'_' is not part of an expression"),
        ("a.real", 2, "'.' is not part of an expression"),
        ("1 + 'x'", 5, '"\'" is not part of an expression'),
        ("a[0]", 2, "'[' is not part of an expression"),
        ("a = 1", 3, "'=' is not part of an expression"),
        ("2 ** 3", 4, "A value is missing"),
        ("lambda: 1", 7, "':' is not part of an expression"),
        ("\u0661", 1, "is not part of an expression"),
        ("(" * 51 + "1" + ")" * 51, 51, "at most 50 levels deep"),
        ("-" * 200 + "1", 51, "at most 50 levels deep"),
        ("1+" * 250 + "1", 501, "at most 500 characters"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_column(text: str, column: int, said: str):
    """Nothing of Python's own gets in: no attributes, strings, subscripts, statements."""
    with pytest.raises(ExpressionError) as raised:
        compiled(text, ["a"])
    assert said in str(raised.value)
    assert raised.value.column == column


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 + 1 / a", "Column 7: division by zero"),
        ("a ^ -1", "Column 3: division by zero"),
        ("exp(1000)", "Column 1: overflow"),
        ("10 ^ 400", "Column 4: overflow"),
        ("1e300 * 1e300", "Column 7: overflow"),
        ("1e308 + 1e308", "Column 7: overflow"),
        ("-1e308 - 1e308", "Column 8: overflow"),
        ("1e300 / 1e-300", "Column 7: overflow"),
        ("log(a)", "Column 1: no such value"),
        ("sqrt(-1)", "Column 1: no such value"),
        ("(-8) ^ 0.5", "Column 6: no such value"),
    ],
)
def test_what_has_no_value_is_told_with_its_column(text: str, said: str):
    """Whatever the expression around it would make of infinity."""
    with pytest.raises(SimulationError) as raised:
        compiled(f"if({text} > 0, 1, 2)", ["a"])([0.0])
    assert raised.value.code == "VALIDATION_ERROR"
    column = int(said.split(":")[0].split()[1])
    assert raised.value.message == said.replace(str(column), str(column + 3), 1)


def test_the_longest_expressions_are_read_and_have_a_value():
    """A sum of 250 terms is as deep as it is long, and no deeper than Python goes."""
    assert compiled("+".join(["1"] * 250), [])([]) == 250
    assert compiled("1^" * 40 + "1", [])([]) == 1


def test_names_of_an_expression():
    """Functions are among them: nothing may be called as they are."""
    assert names_in("min(a, b1) + 2e3 * a") == {"min", "a", "b1"}


PIECES = [
    *FUNCTIONS,
    *"+-*/^(),<>=!.eE_'\"[]{}:;@ \n\t",
    "a",
    "t",
    "0",
    "1",
    "1e308",
    "2.5",
    "<=",
    "==",
    "__import__",
    "é",
    "\0",
]


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=40).map("".join)))
def test_anything_is_read_or_refused(text: str):
    """Any text gives an expression or an error with a column within it, and any value is finite or an error."""
    refused: ExpressionError | None = None
    try:
        expression = compiled(text, ["a", "t"])
    except ExpressionError as error:
        refused = error
    else:
        for a in (0.0, -1.5, 1e12):
            with suppress(SimulationError):
                assert math.isfinite(expression([a, 2.0]))
    assert refused is None or 1 <= refused.column <= len(text) + 1


def _operations(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})")
    return (
        joined
        | inner.map(lambda text: f"(-{text})")
        | st.tuples(inner, inner).map(lambda two: f"min({two[0]}, {two[1]})")
    )


@given(st.recursive(st.sampled_from(["1", "2.5", "a", "0.1", "7"]), _operations, max_leaves=12))
def test_arithmetic_is_that_of_python(text: str):
    """The same digits, or none on either side."""
    try:
        expected = float(eval(text, {"a": 3.0, "min": min}))  # noqa: S307 - the reference, for text made here
    except ZeroDivisionError:
        with pytest.raises(SimulationError):
            compiled(text, ["a"])([3.0])
    else:
        assert compiled(text, ["a"])([3.0]) == expected
