"""Answers that are to be JSON are read strictly, and what is wrong is told by its place, without what was said."""

from typing import Any

import pytest

from handlers.models.structured import UnfitError, read_structured

SCHEMA: dict[str, Any] = {
    "properties": {"total": {"type": "number", "maximum": 100}, "of": {"type": "string", "pattern": "^[a-z]+$"}},
    "required": ["total"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "text",
    ['{"total": 7}', ' \n{"total": 7}\n', '```json\n{"total": 7}\n```', '```\n{"total": 7}\n```\n'],
    ids=["plain", "with space", "in a fence of JSON", "in a fence"],
)
def test_answer_is_read(text: str):
    """Models without a form of their own for JSON write it as people do."""
    assert read_structured(text, SCHEMA) == {"total": 7}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "output: It is no JSON"),
        ("The total is 7.", "output: It is no JSON"),
        ('{"total": 7} I hope that helps.', "output: It is no JSON"),
        ("[7]", "output: It is no JSON object"),
        ('{"total": 7, "total": 8}', "more than once"),
        ('{"total": 123456789012345678901234567890}', "is no integer from"),
        ('{"total": ' + "[" * 100 + "]" * 100 + "}", "nested over 64"),
        ('{"total": "seven"}', "output.total: "),
        ('{"total": 101}', "output.total: "),
        ('{"of": "abc"}', "output.total: Field required"),
        ('{"total": 7, "more": 1}', "output.more: "),
        ("```", "output: It is no JSON"),
    ],
    ids=[
        "nothing", "words", "words behind", "a list", "a name twice", "a number too large", "too deep", "of another type",
        "too much", "without a field", "with another field", "half a fence",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told(text: str, wrong: str):
    with pytest.raises(UnfitError) as unfit:
        read_structured(text, SCHEMA)
    assert wrong in str(unfit.value)


def test_all_that_is_wrong_is_told_at_once_and_nothing_of_what_was_said():
    """It goes into the error of an execution."""
    with pytest.raises(UnfitError) as unfit:
        read_structured('{"total": "sesame", "of": "SESAME"}', SCHEMA)
    assert "output.total" in str(unfit.value)
    assert "output.of" in str(unfit.value)
    assert "sesame" not in str(unfit.value).lower()


def test_answer_that_would_take_long_to_check_is_refused():
    """The work is bounded before it is done."""
    schema = {"properties": {"all": {"items": {"anyOf": [{"const": number} for number in range(500)]}}}}
    with pytest.raises(UnfitError, match="more than is checked"):
        read_structured('{"all": [' + "0," * 5_000 + "0]}", schema)
