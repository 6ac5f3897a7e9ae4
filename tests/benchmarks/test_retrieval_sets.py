"""The sets of `make eval`: what their questions name is there, and indexes are read as they are meant."""

from benchmarks.retrieval.compared import difference
from benchmarks.retrieval.sections import Sections
from benchmarks.retrieval.sets import own_docs, whole_pages
from benchmarks.retrieval.technical import postgresql_terms, python_terms
from handlers.knowledge.parsing.parsed import Place

_PAGE = "# Title\nIntro\n\n## One\ntext\n```sh\n# no heading\n```\n## Two\ntext\n"
_SPHINX = """
<table class="indextable"><tr><td><ul>
  <li><a href="library/aifc.html#index-2">A-LAW</a>, <a href="library/sndhdr.html#index-0">[1]</a></li>
  <li>built-in function<ul><li><a href="library/functions.html#abs">abs()</a></li></ul></li>
</ul></td></tr></table>
"""
_DOCBOOK = """
<div class="indexdiv"><h3>A</h3><dl>
  <dt>aggregate function, <a class="indexterm" href="tutorial-agg.html">Aggregates</a>,
    <a class="indexterm" href="xaggr.html#X">Own</a></dt>
  <dd><dl><dt>built-in, <a class="indexterm" href="functions-aggregate.html">Functions</a></dt></dl></dd>
</dl></div>
"""


def test_every_question_has_its_answer_in_the_docs() -> None:
    """Whoever renames a heading names it anew in benchmarks/retrieval/questions.json."""
    docs = own_docs()
    there = {name for each in docs.documents for name in Sections(each.name, each.content.decode()).names}

    assert {unit for asked in docs.questions for unit in asked.relevant} <= there
    assert len({asked.question for asked in docs.questions}) == 100


def test_sections_are_told_by_lines() -> None:
    sections = Sections("page.md", _PAGE)

    assert sections.names == ["page.md#Title", "page.md#One", "page.md#Two"]
    assert sections.within(Place(first_line=5, last_line=8)) == ["page.md#One"]
    assert sections.within(Place(first_line=2, last_line=9)) == ["page.md#Title", "page.md#One", "page.md#Two"]


def test_pages_are_found_where_sections_are() -> None:
    docs = own_docs()

    assert whole_pages(docs).questions[0].relevant == {"README.md"}


def test_terms_of_sphinx() -> None:
    terms = python_terms(_SPHINX)

    assert terms == {
        "A-LAW": {"library/aifc.html", "library/sndhdr.html"},
        "built-in function abs()": {"library/functions.html"},
    }


def test_terms_of_docbook() -> None:
    terms = postgresql_terms(_DOCBOOK)

    assert terms == {
        "aggregate function": {"tutorial-agg.html", "xaggr.html"},
        "aggregate function built-in": {"functions-aggregate.html"},
    }


def test_difference_of_the_same_is_nothing() -> None:
    apart = difference([0.5, 1.0, 0.0], [0.5, 1.0, 0.0])

    assert (apart.mean, apart.least, apart.most) == (0.0, 0.0, 0.0)


def test_difference_that_every_question_has_is_certain() -> None:
    apart = difference([0.75, 0.5, 0.25], [0.5, 0.25, 0.0])

    assert (apart.mean, apart.least, apart.most) == (0.25, 0.25, 0.25)
