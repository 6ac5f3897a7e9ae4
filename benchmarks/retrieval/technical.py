"""The technical set: pages of Python's and PostgreSQL's documentation; their index terms ask, and the pages they name answer."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from benchmarks.retrieval.packages import postgresql_pages, python_pages
from benchmarks.retrieval.sets import Asked, Document, EvaluationSet, page_of

OF_EACH = 500
_SEED = 9
# Indexes themselves, and what only leads on.
_NO_PAGES = re.compile(r"(genindex.*|bookindex|py-modindex|search|contents|download)\.html")
_WORD = re.compile(r"[A-Za-z]{3}")

Terms = dict[str, set[str]]


def technical(quick: bool = False) -> EvaluationSet:
    """Return the set. Raises Unavailable where a package is not to be had."""
    python, postgresql = python_pages(), postgresql_pages()
    sources = (
        ("python", python, python_terms((python / "genindex-all.html").read_text())),
        ("postgresql", postgresql, postgresql_terms((postgresql / "bookindex.html").read_text())),
    )
    documents: list[Document] = []
    questions: list[Asked] = []
    for prefix, folder, terms in sources:
        pages = _documents(prefix, folder)
        documents += pages
        questions += _sampled(prefix, terms, {page.name for page in pages}, 50 if quick else OF_EACH)
    says = f"{len(questions):,} index terms of Python's and PostgreSQL's documentation ({len(documents):,} pages; a page is found)"
    return EvaluationSet("technical", says, documents, questions, page_of)


def python_terms(html: str) -> Terms:
    """Return the terms of Sphinx' general index, each with the pages that it leads to; an entry below another is read after it."""
    terms: Terms = {}
    for cell in LexborHTMLParser(html).css("table.indextable td > ul"):
        for entry in _children(cell, "li"):
            _sphinx_entry(entry, "", terms)
    return terms


def postgresql_terms(html: str) -> Terms:
    """Return the terms of DocBook's index, likewise."""
    terms: Terms = {}
    for listed in LexborHTMLParser(html).css("div.indexdiv > dl"):
        _docbook_entries(listed, "", terms)
    return terms


def _sphinx_entry(entry: LexborNode, above: str, terms: Terms) -> None:
    links = _children(entry, "a")
    own = links[0].text() if links else entry.text(deep=False)
    term = _joined(above, own)
    _note(terms, term, links)
    for below in _children(entry, "ul"):
        for each in _children(below, "li"):
            _sphinx_entry(each, term, terms)


def _docbook_entries(listed: LexborNode, above: str, terms: Terms) -> None:
    term = above
    for each in listed.iter():
        if each.tag == "dt":
            term = _joined(above, each.text(deep=False).rstrip(", "))
            _note(terms, term, each.css("a.indexterm"))
        elif each.tag == "dd":
            for below in _children(each, "dl"):
                _docbook_entries(below, term, terms)


def _note(terms: Terms, term: str, links: list[LexborNode]) -> None:
    pages = {(link.attributes.get("href") or "").partition("#")[0] for link in links}
    if pages:
        terms.setdefault(term, set()).update(pages)


def _joined(above: str, own: str) -> str:
    return " ".join(f"{above} {own}".replace(",", " ").split())


def _children(node: LexborNode, tag: str) -> list[LexborNode]:
    return [each for each in node.iter() if each.tag == tag]


def _documents(prefix: str, folder: Path) -> list[Document]:
    return [
        Document(f"{prefix}/{page.relative_to(folder)}", "text/html", page.read_bytes())
        for page in sorted(folder.rglob("*.html"))
        if not _NO_PAGES.fullmatch(page.name) and page.stat().st_size > 0
    ]


def _sampled(prefix: str, terms: Terms, names: set[str], size: int) -> list[Asked]:
    usable = list(_usable(prefix, terms, names))
    return random.Random(_SEED).sample(usable, min(size, len(usable)))


def _usable(prefix: str, terms: Terms, names: set[str]) -> Iterator[Asked]:
    for term in sorted(terms):
        relevant = frozenset(f"{prefix}/{page}" for page in terms[term]) & names
        if relevant and _WORD.search(term):
            yield Asked(term, relevant)
