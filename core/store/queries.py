"""SQL files beside their callers: named blocks, read once, strictly."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$")


def load_queries(path: Path) -> Mapping[str, str]:
    """Return the statements of a file by name.

    A block begins with `-- name: find_something`; before the first one only comments may stand. Raises ValueError for a
    name that stands twice, a block without a statement, or a statement without a name.
    """
    blocks: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        named = _NAME.match(line)
        if named is not None:
            if named[1] in blocks:
                raise ValueError(f"{path.name}:{number}: {named[1]} stands twice")
            current = blocks.setdefault(named[1], [])
        elif current is not None:
            current.append(line)
        elif line.strip() and not line.startswith("--"):
            raise ValueError(f"{path.name}:{number}: a statement without a name")
    statements = {name: _statement(path, name, lines) for name, lines in blocks.items()}
    return MappingProxyType(statements)


def _statement(path: Path, name: str, lines: list[str]) -> str:
    text = "\n".join(lines).strip().removesuffix(";")
    if not any(line.strip() and not line.lstrip().startswith("--") for line in lines):
        raise ValueError(f"{path.name}: {name} has no statement")
    return text
