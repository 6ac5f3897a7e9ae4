"""Inputs of lists: pages by number, or windows between cursors."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from core.errors import Detail, HubError
from handlers.described import WITHOUT_NUL
from handlers.lists.cursors import LONGEST
from handlers.lists.fields import storable

_NUMBERED = ("page", "per_page")
_BETWEEN = ("after", "before", "limit")


def is_storable(text: str) -> str:
    """Return a text that PostgreSQL and JSON can hold; raises ValueError for another."""
    if not storable(text):
        raise ValueError("NUL characters and lone surrogates are not allowed")
    return text


def _split(given: Any) -> Any:
    return [each.strip() for each in given.split(",")] if isinstance(given, str) else given


Word = Annotated[str, StringConstraints(max_length=200), AfterValidator(is_storable), WITHOUT_NUL]
Phrase = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=500), AfterValidator(is_storable), WITHOUT_NUL
]
# In a query `a,b`; in a call of the stream also ["a", "b"].
Names = Annotated[list[str], BeforeValidator(_split)]
Cursor = Annotated[str, StringConstraints(max_length=LONGEST)]


class Paging(BaseModel):
    """A page by its number, or up to `limit` items after or before a cursor."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)
    after: Cursor | None = None
    before: Cursor | None = None
    limit: int = Field(20, ge=1, le=100)

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given  # pyright: ignore[reportUnknownVariableType] - pydantic refuses it
        if any(name in given for name in _BETWEEN):
            wrong = [Detail(name, "INVALID_FORMAT", "Pages have no cursors") for name in _NUMBERED if name in given]
            if "after" in given and "before" in given:
                wrong.append(Detail("before", "INVALID_FORMAT", "A list goes after a cursor or before one"))
            if wrong:
                raise HubError("VALIDATION_ERROR", details=wrong)
        return given  # pyright: ignore[reportUnknownVariableType] - names and values of any kind

    @property
    def is_window(self) -> bool:
        """Tell whether cursors are wanted."""
        return not self.model_fields_set.isdisjoint(_BETWEEN)


class Sorted(Paging):
    """A list that can be sorted and filtered."""

    sort: Names | None = None
    filter: dict[str, Any] | None = None
