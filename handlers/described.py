"""What JSON Schema is told of a field, where pydantic cannot know it: what a validator of our own asks for."""

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class Described:
    """Tells JSON Schema what a validator of our own asks for: a keyword and its value."""

    keyword: str
    value: Any

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), self.keyword: self.value}


WITHOUT_NUL = Described("pattern", r"^[^\u0000]*$")


def no_nul(text: str) -> str:
    """Return a text that PostgreSQL can hold; raises ValueError for one with NUL characters. WITHOUT_NUL says so in schemas."""
    if "\x00" in text:
        raise ValueError("NUL characters are not allowed")
    return text
