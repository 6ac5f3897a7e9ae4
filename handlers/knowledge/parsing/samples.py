"""A small document of each format: a parser reads them first, so that all that they need is loaded. No I/O."""

import io
import zipfile
from collections.abc import Iterator

from handlers.knowledge.parsing.formats.office import MAIN_PART

_MARKDOWN = "---\ntitle: Sample\n---\n# Sample\n\nSome *text* &amp; `code`.\n\n|a|b|\n|-|-|\n|1|2|\n\n- item\n\n```\ncode\n```\n"
_HTML = "<title>Sample</title><h1>Sample</h1><p>Text<pre>code</pre><table><tr><th>a<th>b<tr><td>1<td>2</table><ul><li>item</ul>"
_PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj
4 0 obj<</Length 30>>stream
BT /F 9 Tf 9 9 Td (Sample) Tj ET
endstream endobj
trailer<</Root 1 0 R>>
"""  # noqa: E501 - a line ends where PDF says
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def samples() -> Iterator[tuple[bytes, str]]:
    """Yield content and content type of each."""
    for text, content_type in (
        ("Sample\n======\n\nText.\n", "text/plain"),
        ("print()\n", "text/javascript"),
        (_MARKDOWN, "text/markdown"),
        (_HTML, "text/html"),
        ("name;city\nJane;Berlin\n", "text/csv"),
        ('[{"name": "Jane", "tags": [1, 2.5, true, null]}]', "application/json"),
        ('{"name": "Jane"}\n', "application/x-ndjson"),
    ):
        yield text.encode(), content_type
    # Where UTF-8 is not what it is, all that looks for the charset is loaded.
    yield "Größe, Änderung und Überprüfung der Straße sind schön für müde Füße.\n".encode("cp1252") * 3, "text/plain"
    yield _PDF, "application/pdf"
    yield docx("<w:p><w:r><w:t>Sample</w:t></w:r></w:p>"), ""


def docx(body: str) -> bytes:
    """Return the smallest DOCX with this body, in WordprocessingML (ECMA-376, part 1)."""
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r" Type="{_RELATION}" '
        f'Target="{MAIN_PART}"/></Relationships>',
        MAIN_PART: f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return packed.getvalue()
