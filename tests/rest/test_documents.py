"""Documents over REST: JSON and files, what is too much, and what is broken."""

from typing import Any

import pytest

from core.operations.audit import AuditTrail
from handlers.knowledge.documents.models import MOST_BYTES, MOST_BYTES_AT_ONCE
from tests.rest.server import Answer, RestServer, head

BOUNDARY = "of-a-test"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
TEXT = b"# Installation\r\n\r\nRun it.\r\n"


@pytest.fixture
async def base(rest: RestServer, key: str) -> str:
    """The path of the documents of a base."""
    made = await rest.call("POST", "/v2/knowledge", key, body={"name": "Docs"})
    return f"/v2/knowledge/{made.json()['id']}/documents"


def part(content: bytes, disposition: str, *lines: str) -> bytes:
    """Return a part of a form."""
    told = "\r\n".join((f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *lines, "", ""))
    return told.encode() + content + b"\r\n"


def file(name: str, content: bytes = TEXT, *lines: str) -> bytes:
    return part(content, f'name="file"; filename="{name}"', *lines)


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def upload(rest: RestServer, key: str, base: str, *parts: bytes, **headers: str) -> Answer:
    return await rest.call("POST", base, key, data=form(*parts), headers={**FORM, **headers})


async def test_files_are_documents(rest: RestServer, key: str, base: str):
    """Named as they are, of the type that is told, else that their ending stands for; the metadata are of all."""
    answer = await upload(
        rest,
        key,
        base,
        file("docs/install.md"),
        part(b'{"team": "docs"}', 'name="metadata"', "Content-Type: application/json"),
        file("Übersicht.txt", TEXT, "Content-Type: text/plain; charset=latin-1"),
    )
    assert answer.status == 202
    first, second = answer.json()["data"]
    assert (first["name"], first["content_type"], first["bytes"]) == ("docs/install.md", "text/markdown", len(TEXT))
    assert (second["name"], second["content_type"]) == ("Übersicht.txt", "text/plain; charset=latin-1")
    assert first["metadata"] == second["metadata"] == {"team": "docs"}
    assert (first["status"], first["unchanged"]) == ("pending", False)
    assert (await rest.call("GET", f"{base}/{first['id']}", key)).json().items() <= first.items()


async def test_content_is_a_download(rest: RestServer, key: str, base: str):
    """Byte by byte what was sent; a browser keeps it and shows nothing of it."""
    made = (await upload(rest, key, base, file('a/"é.html', b"<script>1</script>\x00\xff"))).json()["data"][0]
    answer = await rest.call("GET", f"{base}/{made['id']}/content", key)
    assert (answer.status, answer.body) == (200, b"<script>1</script>\x00\xff")
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "text/html"
    for path, code in (
        (f"{made['id']}/content?version=2", 404),
        (f"{made['id']}/content?version=x", 422),
        ("x/content", 404),
    ):
        assert (await rest.call("GET", f"{base}/{path}", key)).status == code


async def test_document_of_json(rest: RestServer, key: str, base: str):
    """201 where there is nothing to wait for."""
    sent = {"name": "a.md", "content": "Text", "content_type": "text/markdown"}
    made = await rest.call("POST", base, key, body=sent)
    assert made.status == 202
    id = made.json()["data"][0]["id"]
    page = (await rest.call("GET", f"{base}?status=pending&filter[name][prefix]=a", key)).json()
    assert [each["id"] for each in page["data"]] == [id]
    patched = await rest.call("PATCH", f"{base}/{id}", key, body={"metadata": {"a": 1}})
    assert patched.json()["metadata"] == {"a": 1}
    (await rest.call("POST", f"{base}/{id}/refresh", key)).error(409, "RESOURCE_CONFLICT")
    assert (await rest.call("GET", f"{base}/{id}/versions", key)).json()["data"][0]["version"] == 1
    assert (await rest.call("DELETE", f"{base}/{id}", key)).status == 204
    (await rest.call("DELETE", f"{base}/{id}", key)).error(404, "RESOURCE_NOT_FOUND")


async def test_prefer_wait_waits(rest: RestServer, key: str, base: str):
    """For so long, and no longer: nobody reads documents here."""
    sent = {"name": "a.md", "content": "Text"}
    for prefer in ("wait=0", "respond-async, wait=0", "handling=lenient; wait=soon"):
        assert (await rest.call("POST", base, key, body=sent, headers={"Prefer": prefer})).status == 202


async def test_key_stands_for_the_files(rest: RestServer, key: str, base: str):
    first = await upload(rest, key, base, file("a.md"), **{"Idempotency-Key": "k"})
    again = await upload(rest, key, base, file("a.md"), **{"Idempotency-Key": "k"})
    assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")
    other = await upload(rest, key, base, file("a.md", b"other"), **{"Idempotency-Key": "k"})
    other.error(422, "IDEMPOTENCY_KEY_REUSED")


async def test_manifest(rest: RestServer, key: str, base: str):
    made = (await upload(rest, key, base, file("a.md"))).json()["data"][0]
    entries = [{"name": "a.md", "hash": made["hash"]}, {"name": "b.md", "hash": made["hash"]}]
    told = await rest.call("POST", f"{base}/manifest", key, body={"documents": entries})
    assert (told.status, told.json()["upload"], told.json()["unchanged"]) == (200, ["b.md"], 1)
    many = [{"name": f"{number}.md", "hash": made["hash"]} for number in range(10_000)]
    told = await rest.call("POST", f"{base}/manifest", key, body={"documents": many})
    assert len(told.json()["upload"]) == 10_000
    many.append({"name": "one-more.md", "hash": made["hash"]})
    (await rest.call("POST", f"{base}/manifest", key, body={"documents": many})).error(422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "BAD_REQUEST"),
        (b"no form at all", 400, "BAD_REQUEST"),
        (file("a.md"), 400, "BAD_REQUEST"),  # it ends early
        (form(file("a.md"))[:-20], 400, "BAD_REQUEST"),
        (form(b"--of-a-test\r\n" + b"X: y\r\n" * 50 + b"\r\nx\r\n"), 400, "BAD_REQUEST"),
        (form(b"--of-a-test\r\nX: " + b"y" * 70_000 + b"\r\n\r\nx\r\n"), 400, "BAD_REQUEST"),
        (form(file("a.md", TEXT, "Content-Transfer-Encoding: base64")), 400, "BAD_REQUEST"),
        (form(file("a.md", TEXT, "Content-Type: multipart/mixed; boundary=x")), 400, "BAD_REQUEST"),
        (form(), 422, "VALIDATION_ERROR"),
        (form(part(b"x", 'name="colour"')), 422, "VALIDATION_ERROR"),
        (form(part(b"no json", 'name="metadata"')), 422, "VALIDATION_ERROR"),
        (form(part(b"[]", 'name="metadata"'), file("a.md")), 422, "VALIDATION_ERROR"),
        (form(file("../a.md")), 422, "VALIDATION_ERROR"),
        (form(file("")), 422, "VALIDATION_ERROR"),
        (form(file("a.md", TEXT, "Content-Type: nothing")), 422, "VALIDATION_ERROR"),
        (form(*(file(f"{number}.md") for number in range(101))), 413, "PAYLOAD_TOO_LARGE"),
    ],
)
async def test_broken_form_is_refused(rest: RestServer, key: str, base: str, body: bytes, status: int, code: str):
    """Clearly, and nothing of it is kept."""
    (await rest.call("POST", base, key, data=body, headers=FORM)).error(status, code)
    assert (await rest.call("GET", base, key)).json()["pagination"]["total"] == 0


async def test_other_media_types_are_refused(rest: RestServer, key: str, base: str):
    for media in ("text/markdown", "multipart/mixed; boundary=x", "application/x-www-form-urlencoded"):
        answer = await rest.call("POST", base, key, data=TEXT, headers={"Content-Type": media})
        answer.error(415, "UNSUPPORTED_MEDIA_TYPE")
    no_boundary = await rest.call("POST", base, key, data=form(), headers={"Content-Type": "multipart/form-data"})
    no_boundary.error(400, "BAD_REQUEST")
    packed = await upload(rest, key, base, file("a.md"), **{"Content-Encoding": "gzip"})
    packed.error(415, "UNSUPPORTED_MEDIA_TYPE")


async def test_what_is_too_large_is_refused_early(rest: RestServer, key: str, base: str):
    """By its head, without a byte of the body; and without a length, as soon as there is too much."""
    length = f"Content-Length: {MOST_BYTES_AT_ONCE * 2}"
    answer = await rest.send(head("POST", base, key, length, f"Content-Type: {FORM['Content-Type']}"))
    answer.error(413, "PAYLOAD_TOO_LARGE")
    big = await upload(rest, key, base, file("a.bin", b"x" * (MOST_BYTES + 1)))
    big.error(413, "PAYLOAD_TOO_LARGE")
    assert (await upload(rest, key, base, file("a.md"))).status == 202


async def test_content_is_in_no_audit(rest: RestServer, key: str, base: str):
    """Who uploaded to which base is there."""
    made: Any = await upload(rest, key, base, file("a.md", b"very secret"))
    assert made.status == 202
    trail: AuditTrail = rest.trail
    await trail.flush()
    answer = await rest.call("GET", "/v2/audit?operation=documents.create", key)
    (entry,) = answer.json()["data"]
    assert entry["target"] == base.removeprefix("/v2/").removesuffix("/documents")
    assert b"secret" not in answer.body
