"""The tables of docs/protocol.md, made from the codes themselves. `python -m hub.stream.reference` brings the page up to date."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.errors import CATALOGUE
from hub.stream.codes import ALL_CODES

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


def tables() -> dict[str, str]:
    """Return the tables by the name of their place in the page."""
    return {
        "close codes": _table(
            ("Code", "Reason", "When", "Comes back", "What the client does"),
            ((each.code, each.reason, each.when, "yes" if each.reconnect else "no", each.client) for each in ALL_CODES),
        ),
        "request errors": _table(
            ("Code", "HTTP status", "Meaning", "Cure"),
            ((f"`{kind.code}`", kind.status, kind.message, kind.cure) for kind in CATALOGUE.values()),
        ),
    }


def brought_up_to_date(page: str) -> str:
    """Return `page` with its tables replaced; raises LookupError where a table has no place in it."""
    for name, table in tables().items():
        begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if place.search(page) is None:
            raise LookupError(f"the page has no place for {name}")
        new = f"{begin}\n{table}{end}"
        page = place.sub(lambda _, new=new: new, page)
    return page


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) or '-' for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(brought_up_to_date(PAGE.read_text()))
