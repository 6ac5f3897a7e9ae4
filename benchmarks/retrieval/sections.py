"""Sections of a Markdown page by their lines. No I/O."""

import re
from itertools import pairwise

from handlers.knowledge.parsing.parsed import Place

_HEADING = re.compile(r"(#{1,3}) (.+)")


class Sections:
    """A page cut at its headings of the first three levels; what is above the first belongs to it."""

    def __init__(self, page: str, text: str) -> None:
        starts: list[tuple[int, str]] = []
        in_code = False
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            in_code ^= line.lstrip().startswith("```")
            found = None if in_code else _HEADING.match(line)
            if found is not None:
                starts.append((number, found[2].strip()))
        ends = [*starts, (len(lines) + 1, "")]
        self._spans = [(first, last - 1, f"{page}#{name}") for (first, name), (last, _) in pairwise(ends)]

    @property
    def names(self) -> list[str]:
        """`page#heading` of each, in order."""
        return [name for _, _, name in self._spans]

    def within(self, place: Place) -> list[str]:
        """Return the sections that a chunk has lines of: several where tiny ones share it."""
        if place.first_line is None or place.last_line is None:
            return [name for name in self.names if name.endswith(f"#{place.headings[-1]}")] if place.headings else []
        return [name for first, last, name in self._spans if first <= place.last_line and last >= place.first_line]
