"""What is read of a room's presence: a page of its members, and how many there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

# Members of one page.
PAGE, MOST_OF_A_PAGE = 100, 500


@dataclass(frozen=True, slots=True)
class Count:
    """How many subjects are members, and how many connections they have together."""

    members: int
    connections: int

    def shown(self) -> dict[str, int]:
        """Return it as clients see it."""
        return {"members": self.members, "connections": self.connections}


@dataclass(frozen=True, slots=True)
class Member:
    """One subject in a room. `data` is JSON: what its connections said last, `null` where none has; `joined_at` is RFC 3339."""

    subject: str
    connections: int
    data: str
    joined_at: str

    def shown(self) -> dict[str, Any]:
        """Return it as clients see it; to be written by orjson."""
        return {
            "subject": self.subject,
            "connections": self.connections,
            "data": orjson.Fragment(self.data),
            "joined_at": self.joined_at,
        }


@dataclass(frozen=True, slots=True)
class PresencePage:
    """Members in the order of their subjects, at `version` of `epoch`; `next` is what the next page comes after, None at the end.

    Pages are read one after the other: who reads several applies the diffs above the first page's version to all of them.
    """

    epoch: str
    version: int
    count: Count
    members: Sequence[Member]
    next: str | None

    def shown(self) -> Mapping[str, Any]:
        """Return it as clients see it; to be written by orjson."""
        return {
            "version": str(self.version),
            "epoch": self.epoch,
            "count": self.count.shown(),
            "members": [member.shown() for member in self.members],
            "next": self.next,
        }
