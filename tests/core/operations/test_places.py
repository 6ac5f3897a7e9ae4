"""Where something is wrong, as callers know the place: without what pydantic adds of its own."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from core.operations.validation import invalid


class Square(BaseModel):
    kind: Literal["square"]
    side: float = Field(gt=0)


class Round(BaseModel):
    kind: Literal["round"]
    radius: float
    holes: tuple[int, ...] = ()


class Drawing(BaseModel):
    shapes: list[Annotated[Square | Round, Field(discriminator="kind")]] = Field(default_factory=list[Any])
    width: float | Square = 1
    names: dict[Annotated[str, Field(max_length=3)], int] = Field(default_factory=dict[str, int])


def told(value: Any, place: str = "") -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(value)
    return [(each.field, each.code) for each in invalid(value, caught.value, place).details]


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({"shapes": [{"kind": "square", "side": 0}]}, [("shapes[0].side", "VALUE_OUT_OF_RANGE")]),
        ({"shapes": [{"kind": "round"}]}, [("shapes[0].radius", "MISSING_REQUIRED_FIELD")]),
        ({"shapes": [{"kind": "round", "radius": 1, "holes": [1, "x"]}]}, [("shapes[0].holes[1]", "INVALID_FORMAT")]),
        ({"shapes": [{"kind": "flat"}]}, [("shapes[0]", "INVALID_FORMAT")]),
        ({"shapes": [{"side": 1}]}, [("shapes[0]", "INVALID_FORMAT")]),
        ({"width": {"kind": "square", "side": -1}}, [("width.side", "VALUE_OUT_OF_RANGE")]),
        ({"width": "x"}, [("width", "INVALID_FORMAT")]),
        ({"names": {"long name": 1}}, [("names.long name", "VALUE_OUT_OF_RANGE")]),
        ({"names": {"a": "x"}}, [("names.a", "INVALID_FORMAT")]),
    ],
    ids=["tag", "missing", "tuple", "unknown tag", "no tag", "other kind", "no kind", "key", "value"],
)
def test_places_lead_into_what_was_sent(value: dict[str, Any], places: list[tuple[str, str]]):
    assert list(dict.fromkeys(told(value))) == places
    assert list(dict.fromkeys(told(value, "a.b"))) == [(f"a.b.{field}", code) for field, code in places]


def test_field_that_begins_like_another_is_not_taken_for_a_part_of_it():
    """What is said of `a` stays, though more is said of `ab`."""

    class Two(BaseModel):
        a: float
        ab: int

    value = {"a": "x", "ab": "y"}
    with pytest.raises(ValidationError) as caught:
        Two.model_validate(value, strict=True)
    assert [each.field for each in invalid(value, caught.value).details] == ["a", "ab"]
