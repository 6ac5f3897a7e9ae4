"""JSON:API documents of answers, checked: against the schema beside this file, and by what no schema can say."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import orjson

from tests.rest.server import Answer, RestServer

MEDIA = "application/vnd.api+json"
_SCHEMA = orjson.loads(Path(__file__).with_name("answers.schema.json").read_bytes())
CHECKER = jsonschema.Draft202012Validator(_SCHEMA, format_checker=jsonschema.FormatChecker())


def document(answer: Answer, status: int) -> dict[str, Any]:
    """Return the document of an answer with `status`, after all that holds of every document was checked."""
    assert answer.status == status, (answer.status, answer.body)
    assert answer.headers["Content-Type"] == MEDIA
    assert "Accept" in answer.headers["Vary"].split(", ")
    made = orjson.loads(answer.body)
    CHECKER.validate(made)
    assert made["jsonapi"]["version"] == "1.1"
    assert ("errors" in made) == (status >= 400)
    _check_linkage(made)
    return made


def errors(answer: Answer, status: int) -> list[tuple[str, Mapping[str, str] | None]]:
    """Return code and source of each error; all have the status, and the answer names its request."""
    made = document(answer, status)
    assert {each["status"] for each in made["errors"]} == {str(status)}
    assert made["meta"]["request_id"] == answer.headers["X-Request-Id"]
    return [(each["code"], each.get("source")) for each in made["errors"]]


async def ask(rest: RestServer, method: str, path: str, key: str | None, data: Any = None, **headers: str) -> Answer:
    """Send a document with this primary data, and accept nothing but documents. What is executed is not waited for."""
    named = {
        "Accept": MEDIA,
        "Prefer": "respond-async",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    if data is not None:
        named.setdefault("Content-Type", MEDIA)
    return await rest.call(method, path, key, body=None if data is None else {"data": data}, headers=named)


def _check_linkage(made: Mapping[str, Any]) -> None:
    """Compound Documents: no resource twice, and each included one is named by a relationship, unless fields are left out."""
    primary = made.get("data")
    resources = [primary] if isinstance(primary, dict) else primary or []
    included = made.get("included", [])
    named = [(each["type"], each["id"]) for each in (*resources, *included)]
    assert len(named) == len(set(named))
    linked = set(_linked(resources))
    assert not linked or {(each["type"], each["id"]) for each in included} <= linked


def _linked(resources: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for each in resources:
        for relationship in each.get("relationships", {}).values():
            for identifier in relationship["data"]:
                yield identifier["type"], identifier["id"]
