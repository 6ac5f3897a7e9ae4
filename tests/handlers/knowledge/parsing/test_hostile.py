"""Documents that are broken, or made to break something: each has a clear error, and costs little."""

import io
import zipfile

import pytest

from handlers.knowledge.parsing.formats.office import MAIN_PART
from handlers.knowledge.parsing.formats.portable import MOST_PAGES
from handlers.knowledge.parsing.parse import parse
from handlers.knowledge.parsing.samples import docx
from handlers.knowledge.parsing.unparsable import Unparsable
from tests.handlers.knowledge.parsing.reading import TYPES, chunks, pdf


def refusal(content: bytes, content_type: str, name: str = "document") -> tuple[str, str]:
    """Return the code and the message with which a document is refused."""
    with pytest.raises(Unparsable) as refused:
        parse(content, content_type, name)
    return refused.value.code, refused.value.message


def packed(**parts: bytes) -> bytes:
    """Return a ZIP of a main part and others."""
    file = io.BytesIO(docx("<w:p/>"))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("kind", TYPES)
def test_empty_document_has_no_text(kind: str):
    """Neither has one of white space."""
    for content in (b"", b" \n\t\n"):
        assert refusal(content, TYPES[kind])[0] == "NO_TEXT"


def test_image_of_a_page_has_no_text():
    """A scan is told from a document that was read: it needs another step before."""
    assert refusal(pdf("", ""), TYPES["pdf"]) == (
        "NO_TEXT",
        "The document has no text: its pages are images, and must be read by OCR first.",
    )


def test_what_is_no_document_is_refused_by_its_type_or_its_bytes():
    """Whatever it is called."""
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    assert refusal(png, "image/png") == ("UNSUPPORTED_FORMAT", "Documents of the type image/png cannot be read.")
    for content in (
        png,
        packed().replace(MAIN_PART.encode(), b"x" * len(MAIN_PART)),
        b"\x7fELF" + bytes(range(32)) * 9,
    ):
        assert refusal(content, "", "a.txt")[0] == "UNSUPPORTED_FORMAT"


def test_broken_and_truncated_documents_are_told_as_that():
    """Each names what it was meant to be."""
    whole = pdf("text")
    for content in (b"%PDF-1.7\n", b"%PDF-1.4\n" + bytes(range(256)) * 20, whole[:60]):
        assert refusal(content, TYPES["pdf"])[0] == "UNREADABLE_DOCUMENT"
    assert refusal(b"no pdf", TYPES["pdf"]) == ("UNREADABLE_DOCUMENT", "The document is no PDF, or is broken.")
    for content in (docx("<w:p>"), packed()[:-60], packed()[:100]):
        assert refusal(content, TYPES["docx"])[0] == "UNREADABLE_DOCUMENT"
    assert refusal(b'{"a": 1}{', TYPES["json"]) == (
        "UNREADABLE_DOCUMENT",
        "The document is not JSON: line 1, column 9: unexpected content after document.",
    )
    assert refusal(b'{"a": 1}\n\n[', TYPES["ndjson"])[1].startswith("The document is not JSON: line 3:")


def test_encrypted_documents_are_told_as_that():
    """Nobody is asked for a password."""
    entry = zipfile.ZipInfo("word/secret.xml")
    file = io.BytesIO(docx("<w:p/>"))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(entry, b"secret")
        entry.flag_bits |= 0x1
    assert refusal(file.getvalue(), TYPES["docx"])[0] == "ENCRYPTED_DOCUMENT"


def test_encrypted_pdf_is_told_as_that():
    """RC4 with 40 bits, as the oldest have it: the password is not the empty one."""
    encrypted = pdf("text").replace(b"trailer<<", b"trailer<</Encrypt 1 0 R/ID[<00><00>]", 1)
    encrypted = encrypted.replace(
        b"<</Type/Catalog",
        b"<</Filter/Standard/V 1/R 2/P -4/O<" + b"11" * 32 + b">/U<" + b"22" * 32 + b">/Type/Catalog",
    )
    assert refusal(encrypted, TYPES["pdf"])[0] in ("ENCRYPTED_DOCUMENT", "UNREADABLE_DOCUMENT")


def test_zip_bombs_are_not_unpacked():
    """One part that packs a thousand times, parts that are many, parts that are large together."""
    assert refusal(packed(**{"word/styles.xml": bytes(20 << 20)}), TYPES["docx"])[0] == "DOCUMENT_TOO_LARGE"
    many = {f"word/{number}.xml": b"" for number in range(5_001)}
    assert refusal(packed(**many), TYPES["docx"])[0] == "DOCUMENT_TOO_LARGE"
    noise = bytes(range(256)) * 4096
    several = {f"word/{number}.xml": noise for number in range(30)}
    assert refusal(packed(**several), TYPES["docx"])[0] == "DOCUMENT_TOO_LARGE"


def test_entities_of_xml_are_no_bomb_and_no_file():
    """A billion laughs are stopped by the parser; a file stays where it is."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    file = '<!DOCTYPE d [<!ENTITY l0 SYSTEM "file:///etc/passwd">'
    for doctype in (f'<!DOCTYPE d [<!ENTITY l0 "ha">{laughs}]>', f"{file}]>"):
        body = "<w:p><w:r><w:t>&l{};</w:t></w:r></w:p>".format(11 if "ha" in doctype else 0)
        document = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(docx(body))) as source, zipfile.ZipFile(document, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                target.writestr(name, doctype.encode() + content if name == MAIN_PART else content)
        assert refusal(document.getvalue(), TYPES["docx"])[0] in ("UNREADABLE_DOCUMENT", "NO_TEXT")


def test_pdf_of_ten_thousand_pages_is_refused_before_it_is_read():
    """Its pages are counted, not opened."""
    content = pdf("page").replace(b"/Count 1", b"/Count 10000", 1)
    kid = content[content.index(b"/Kids[") + 6 : content.index(b"]", content.index(b"/Kids["))]
    many = content.replace(b"/Kids[" + kid, b"/Kids[" + (kid + b" ") * 10_000, 1)
    code, message = refusal(many, TYPES["pdf"])
    assert code == "DOCUMENT_TOO_LARGE"
    assert f"{MOST_PAGES:,}" in message


def test_html_of_100_000_nested_elements_is_refused():
    """The parser's time would grow with the square of the depth; as many side by side are fine."""
    code, message = refusal(b"<div>" * 100_000 + b"x", TYPES["html"])
    assert (code, message) == ("DOCUMENT_TOO_LARGE", "The document has elements nested deeper than 5,000.")
    code, _ = refusal(b"<font color=red/>" * 100_000 + b"x", TYPES["html"])
    assert code == "DOCUMENT_TOO_LARGE"
    assert chunks("<div>x</div>" * 10_000 + "<p>unclosed " * 10_000 + "<div>" * 4_000 + "deep", "html")[
        -1
    ].text.endswith("deep")


def test_page_of_much_script_and_drawing_is_not_deep():
    """What is less than something in a script is no element, and those of a drawing end where they begin."""
    page = "<p>text<script>" + "for(i=0;i<n;i++);" * 10_000 + "</script><!--" + "<b>" * 10_000 + "-->"
    assert chunks(f"{page}<svg>{'<path d=M0/>' * 10_000}</svg>", "html")[0].text == "text"


def test_single_line_of_10_mb_is_cut():
    """With spaces or without."""
    for line in (b"word " * 2_000_000, b"x" * 10_000_000):
        assert all(len(chunk.text) <= 8_000 for chunk in chunks(line, "txt"))


def test_wrong_charset_is_an_error_by_name():
    """What was declared is believed, and held against the bytes."""
    latin = "Größe".encode("latin-1")
    assert refusal(latin, "text/plain; charset=utf-8") == (
        "WRONG_CHARSET",
        "The document is not utf-8: byte 3 (0xF6) cannot be read.",
    )
    for unknown in ("klingon", "base64"):
        code, message = refusal(latin, f"text/plain; charset={unknown}")
        assert (code, unknown in message) == ("WRONG_CHARSET", True)


def test_charset_is_found_where_none_is_declared():
    """By a mark, as UTF-8, by a page's own word, by what it looks like; NULs are removed."""
    words = "Größe, Änderung und Überprüfung der Straße sind schön für müde Füße."
    for content in (words.encode(), words.encode("utf-16"), words.encode("utf-8-sig"), words.encode("cp1252")):
        assert [chunk.text for chunk in chunks(content, "txt")] == [words]
    page = f'<meta charset="koi8-r"><p>{"Привет мир"}'.encode("koi8-r")
    assert [chunk.text for chunk in chunks(page, "html")] == ["Привет мир"]
    assert [chunk.text for chunk in chunks("a\0b", "txt")] == ["ab"]


def test_deep_json_is_refused_or_flat():
    """Nothing recurses with it."""
    assert refusal(b"[" * 100_000 + b"]" * 100_000, TYPES["json"])[0] == "UNREADABLE_DOCUMENT"
    deep = b'{"a":' * 200 + b'"word"' + b"}" * 200
    assert "word" in chunks(deep, "json")[0].text


def test_csv_of_10_000_columns_is_cut_and_a_huge_cell_refused():
    """A row of that many is several chunks; a quote that is never closed ends at a bound."""
    table = "\n".join(",".join(f"{cell}{number}" for number in range(10_000)) for cell in "xy")
    found = chunks(table, "csv")
    assert all(len(chunk.text) <= 8_000 for chunk in found)
    assert "x9999: y9999" in found[-1].text
    assert refusal(b'a,b\n"' + b"x\n" * 1_000_000, TYPES["csv"])[0] == "UNREADABLE_DOCUMENT"
