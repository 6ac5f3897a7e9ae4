"""HTML, PDF, DOCX, CSV, JSON and plain text become chunks."""

from handlers.knowledge.parsing.formats.portable import read_pdf
from handlers.knowledge.parsing.samples import docx
from tests.handlers.knowledge.parsing.reading import chunks, pdf, title

PAGE = """<!doctype html><html><head><title>Install &mdash; Docs</title><style>p {color: red}</style></head><body>
<nav><a href="/">Home</a></nav>
<main><h1>Install<button>Copy</button><a href="#install">¶</a></h1><p>Read <b>th</b>is&nbsp;first.<script>steal()</script></p>
<h2>Steps</h2><ol><li>Get it<li>Run it:<pre>hub serve
hub doctor</pre></ol>
<table><thead><tr><th>option<th>meaning</thead><tr><td><p>a</p><td>either<br>or<tr><td>c<td>none</table></main>
<footer>Imprint</footer></body></html>"""


def test_html_is_what_a_reader_sees():
    """Headings, lists, listings and tables; no script, style or way around the site."""
    (chunk,) = chunks(PAGE, "html")
    assert title(PAGE, "html") == "Install"
    assert chunk.text == (
        "Read this first.\n\nSteps\n\n1. Get it\n2. Run it:\n\nhub serve\nhub doctor\n\noption | meaning\na | either or\nc | none"
    )


def test_html_without_heading_has_its_title():
    """What stands in <title> is the name that browsers show."""
    assert title("<title>A page</title><p>text", "html") == "A page"


def test_table_that_is_layout_is_a_page():
    """Headings in a table's cells are headings of the page."""
    found = chunks("<table><tr><td><h1>One</h1><p>first<td><h1>Two</h1><p>second</table>", "html")
    assert [(chunk.place.headings, chunk.text) for chunk in found] == [(("One",), "first"), (("Two",), "second")]


def test_pdf_has_pages_and_the_headings_of_its_outline():
    """Headers and footers, which stand on every page, are none of the text."""
    pages = [
        f"Handbook\nChapter {number}\nThis is what chapter {number} says.\nPage {number} of 5" for number in range(1, 6)
    ]
    document = pdf(*pages, title="Hand\nbook", outline=(("Chapter 1", 0), ("Chapter 3", 2)))
    readable = read_pdf(document)
    assert (readable.title, readable.pages) == ("Hand book", 5)
    found = chunks(document, "pdf")
    assert [(chunk.place.page, chunk.place.headings) for chunk in found] == [
        (1, ("Chapter 1",)),
        (2, ("Chapter 1",)),
        (3, ("Chapter 3",)),
        (4, ("Chapter 3",)),
        (5, ("Chapter 3",)),
    ]
    assert [chunk.text for chunk in found[:2]] == [
        "This is what chapter 1 says.",
        "Chapter 2 This is what chapter 2 says.",
    ]


def test_pdf_heading_is_where_its_line_is():
    """What stands above it on the same page is of the section before; its number may be missing in the outline."""
    document = pdf(
        "1. First\nOne ends here.\n2. Second part\nTwo.\n2.1 Inner\nThree.",
        outline=(("First", 0), ("2. Second part", 0)),
    )
    assert [(chunk.place.headings, chunk.text) for chunk in chunks(document, "pdf")] == [
        (("First",), "One ends here."),
        (("2. Second part",), "Two.\n\n2.1 Inner Three."),
    ]


def test_docx_has_headings_lists_and_tables():
    """As Word writes them: styles by name."""
    heading = '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Install</w:t></w:r></w:p>'
    cell = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    table = f"<w:tbl><w:tr>{cell.format('a')}{cell.format('b')}</w:tr></w:tbl>"
    (chunk,) = chunks(
        docx(f"{heading}<w:p><w:r><w:t>Read </w:t></w:r><w:r><w:t>this.</w:t></w:r></w:p>{table}"), "docx"
    )
    assert chunk.place.headings == ("Install",)
    assert chunk.text == "Read this.\n\na | b"


def test_csv_row_is_a_record():
    """Under the names of the first row, whatever stands between the cells; line ends in quotes count."""
    for delimiter in ",;\t|":
        table = f'name{delimiter}city\n"Doe, Jane;|\nDr."{delimiter}Berlin\nAda{delimiter}\n'
        found = chunks(table, "csv")
        assert [chunk.text for chunk in found] == ["name: Doe, Jane;| Dr.\ncity: Berlin", "name: Ada"]
        assert [(chunk.place.first_line, chunk.place.last_line) for chunk in found] == [(2, 3), (4, 4)]


def test_csv_without_names_has_numbered_columns():
    """A row of numbers names nothing."""
    assert [chunk.text for chunk in chunks("1,2\n3,4\n", "csv")] == [
        "column 1: 1\ncolumn 2: 2",
        "column 1: 3\ncolumn 2: 4",
    ]


def test_json_entries_are_records():
    """Of an array, of {"records": [...]}, of a line each; another object is one."""
    contacts = '{"id": 7, "name": "Jane", "address": {"city": "Berlin"}}, {"name": "Ada"}'
    expected = [("7", "id: 7\nname: Jane\naddress.city: Berlin"), ("Ada", "name: Ada")]
    for document in (f"[{contacts}]", f'{{"records": [{contacts}]}}'):
        assert [(chunk.place.record, chunk.text) for chunk in chunks(document, "json")] == expected
    lines = chunks(contacts.replace("}, {", "}\n\n{"), "ndjson")
    assert [(chunk.place.record, chunk.text) for chunk in lines] == expected
    assert [chunk.place.first_line for chunk in lines] == [1, 3]
    assert [chunk.text for chunk in chunks('{"a": {"b": [1, 2]}}', "json")] == ["a.b: 1\na.b: 2"]


def test_large_object_is_whole():
    """A record's text has a bound; what is longer is several, and nothing of it is left out."""
    document = (
        "{" + ",".join(f'"key{number}": {{"value": "word{number} {"x " * 50}"}}' for number in range(3_000)) + "}"
    )
    text = "\n".join(chunk.text for chunk in chunks(document, "json"))
    assert all(f"word{number} " in text for number in range(3_000))


def test_plain_text_has_paragraphs_lines_and_underlined_headings():
    """As in reStructuredText; levels come up in their order."""
    document = "=====\nTitle\n=====\n\nIntro.\n\nPart\n----\n\none\ntwo\n\n=======\n Other\n=======\n\nend\n"
    found = chunks(document, "txt")
    assert [(chunk.place.headings, chunk.text, chunk.place.first_line) for chunk in found] == [
        (("Title",), "Intro.\n\nPart\n\none\ntwo", 5),
        (("Other",), "end", 17),
    ]
