"""How terms are written for PostgreSQL: tsvector and tsquery as text. No I/O.

A lexeme in the index is its scope in base 16, a dot, and the term: so the posting lists of GIN are a scope's own.
"""

from collections.abc import Iterable, Sequence

from handlers.knowledge.parsing.parsed import Terms, Written

# In place of the scope where PostgreSQL finds it while it writes: no term has it.
SCOPE = "\x01"
_MOST_PLACES = 255  # of a lexeme; PostgreSQL keeps no more


def scoped(scope: int, term: str) -> str:
    """Return a term as the index of `scope` has it."""
    return f"{scope:x}.{term}"


def quoted(lexeme: str) -> str:
    """Return a lexeme as tsvector and tsquery read it."""
    if "'" in lexeme or "\\" in lexeme:
        lexeme = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{lexeme}'"


def written(terms: Terms) -> Written:
    """Return terms as the index takes them."""
    return Written(literal(terms), terms.length, list(terms.positions))


def literal(terms: Terms | Written) -> str:
    """Return a chunk's terms as a tsvector's text, with SCOPE before each."""
    if isinstance(terms, Written):
        return terms.vector
    return " ".join(
        f"{quoted(SCOPE + term)}:{places[0] if len(places) == 1 else _places(places)}"
        for term, places in terms.positions.items()
    )


def _places(places: list[int]) -> str:
    return ",".join(map(str, places[:_MOST_PLACES]))


def any_of(queries: Iterable[str]) -> str:
    """Return what finds one of several."""
    return " | ".join(queries)


def all_of(queries: Iterable[str]) -> str:
    """Return what finds all of several, each of which may be one of several."""
    return " & ".join(f"({each})" for each in queries)


def in_a_row(places: Sequence[tuple[str, int]]) -> str:
    """Return what finds lexemes at the distances of these places."""
    first, *others = places
    parts = [quoted(first[0])]
    before = first[1]
    for lexeme, place in others:
        parts.append(f"<{place - before}> {quoted(lexeme)}")
        before = place
    return " ".join(parts)
