"""What operations answer. A door renders these; the idempotency store keeps them as JSON and gives them back."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a resource; `body` is its JSON text, sent and stored as it is.

    `name` is what it is known by in place of its id.
    """

    kind: str  # plural: agents
    id: UUID
    version: int
    updated_at: datetime
    body: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A resource that is gone, and the version that it ended with; `name` as of a Document."""

    kind: str
    id: UUID
    version: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """What of a list lies between two cursors: at most `limit` items.

    `after` is the cursor of the last item, to go on with; `before` that of the first, to go back with; both None where there is no
    item. `has_more` tells of the direction that was asked for; `has_next` and `has_previous` of both, as far as is known.
    """

    limit: int
    after: str | None
    before: str | None
    has_more: bool
    has_next: bool
    has_previous: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: JSON texts, oldest rules first; `page` counts from 1, `total` counts all that match.

    `is_whole` is False where a part of what is listed could not be asked, and is missing. `is_exact` is False where there are more
    than `total`, which nobody has counted. With a `window` it is a page between cursors, and `page` and `per_page` mean nothing.
    """

    items: list[str]
    page: int
    per_page: int
    total: int
    is_whole: bool = True
    is_exact: bool = True
    window: Window | None = None

    def pagination(self) -> dict[str, Any]:
        """Return what every door says of a page beside its items."""
        window = self.window
        said: dict[str, Any]
        if window is None:
            said = {"page": self.page, "per_page": self.per_page, "total": self.total}
        else:
            said = {"limit": window.limit, "total": self.total}
            said |= {"after": window.after, "before": window.before, "has_more": window.has_more}
        if not self.is_exact:
            said["total_exact"] = False
        return said


@dataclass(frozen=True, slots=True)
class Made:
    """What was made for the caller and is not kept, such as a token; `body` is its JSON text, a secret."""

    body: str


@dataclass(frozen=True, slots=True)
class Shown:
    """How something is at this moment, of which no version is kept; `body` is its JSON text."""

    body: str


@dataclass(frozen=True, slots=True)
class Poured:
    """A long text that is made while it is sent; who takes it closes `parts`. `name` is that of a file that it may be kept as.

    Only a door that has a way for it runs such an operation.
    """

    media_type: str
    name: str
    parts: AsyncGenerator[bytes]


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a Streamed: its name, and its JSON text."""

    name: str
    data: str


@dataclass(frozen=True, slots=True)
class Streamed:
    """A result that comes part by part; who takes it closes `parts`.

    The run of its operation ends before the first part: its deadline does not cover them, and no transaction is open.
    """

    parts: AsyncGenerator[Item]
