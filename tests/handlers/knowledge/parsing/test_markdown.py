"""Markdown becomes chunks with headings and lines."""

from handlers.knowledge.parsing.formats.markdown import plain, read_markdown
from tests.handlers.knowledge.parsing.reading import chunks, title

PAGE = """---
title: "Guide"
tags: [setup, linux]
authors:
  - Ada
---
# Install

Read **this** first.

## Steps

1. Get `hub`
2. Run it:

   ```sh
   hub serve
   hub doctor
   ```

| option | meaning |
|--------|---------|
| `a\\|b` | *either* |
| c      | none |
"""


def test_front_matter_gives_title_and_metadata():
    """Its fields are what the author says of the page; those that describe it are found with it."""
    readable = read_markdown(PAGE)
    assert readable.title == "Guide"
    assert readable.metadata == {"tags": ["setup", "linux"], "authors": ["Ada"]}
    assert title("# First\n\n# Second\n\ntext", "md") == "First"


def test_lines_are_those_of_the_file():
    """A citation leads to the place in the source, front matter counted."""
    blocks = [(each.kind, each.text, each.first_line, each.last_line) for each in read_markdown(PAGE).blocks]
    assert blocks == [
        ("text", "setup, linux", 1, 6),
        ("text", "Read this first.", 9, 9),
        ("text", "1. Get hub", 13, 13),
        ("text", "2. Run it:", 14, 14),
        ("code", "hub serve\nhub doctor", 17, 18),
        ("table", "a|b | either\nc | none", 23, 24),
    ]
    assert [block.header for block in read_markdown(PAGE).blocks][-1] == "option | meaning"


def test_tiny_sections_share_a_chunk():
    """Its headings are in the text, where the place has only the one that they share."""
    (chunk,) = chunks("# FAQ\n\n## One?\n\nYes.\n\n## Two?\n\nNo.\n", "md")
    assert chunk.place.headings == ("FAQ",)
    assert chunk.text == "One?\n\nYes.\n\nTwo?\n\nNo."
    assert (chunk.place.first_line, chunk.place.last_line) == (5, 9)


def test_chunk_never_goes_across_top_headings():
    """Two pages in one file are two pages."""
    assert [each.place.headings for each in chunks("# A\n\na\n\n# B\n\nb\n", "md")] == [("A",), ("B",)]


def test_heading_without_text_is_found():
    """What stands only in headings is said nowhere else."""
    found = chunks("# Title\n\n## Planned: rate limits\n\n# Other\n\ntext", "md")
    assert any("Planned: rate limits" in chunk.text for chunk in found)


def test_inline_markup_is_taken_off():
    """What stays is what a reader sees."""
    shown = {
        "[the *docs*](https://x.y/(a) 'title')": "the docs",
        "![logo](a.png) [ref][1] <https://a.b>": "logo ref https://a.b",
        "snake_case and __bold__ and 2 * 3 * 4": "snake_case and bold and 2 * 3 * 4",
        "`docs/**/*.md` and ``a `b` c``": "docs/**/*.md and a `b` c",
        r"\*not\* &lt;b&gt; <b>bold</b> ~~gone~~": "*not* <b> bold gone",
        "a < b and c > d": "a < b and c > d",
        "***both***": "both",
    }
    assert {markup: plain(markup) for markup in shown} == shown


def test_markup_without_an_end_costs_little():
    """Half a million opening marks are read in a moment, not in the square of their number."""
    for mark in ("`a ", "*a ", "[a ", "<a ", "![a](", "_a ", "~~a "):
        assert plain(mark * 20_000)


def test_html_in_markdown_loses_its_tags():
    """A block of HTML is text as well; its scripts are not."""
    (chunk,) = chunks("<details>\n<summary>More &amp; more</summary>\n<script>alert(1)</script>\n</details>\n", "md")
    assert chunk.text.split() == ["More", "&", "more"]
