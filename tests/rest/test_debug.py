"""Debug mode: the detail of a request, for every one by HUB_DEBUG or for one by a signed header, and never a secret."""

import json
import re
from collections.abc import Collection
from typing import Any

import pytest

from core.auth.caller import ALL_SCOPES
from core.auth.signing import ensure_signing_key
from core.store.migrate import installation_secret
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisations
from tests.rest.declared import operations
from tests.rest.server import Answer, RestServer, serve

SECRETS = {"metadata": {"secret": "s3cr3t-1", "Password": "s3cr3t-2", "note": "whsec_s3cr3t3", "fine": "seen"}}


@pytest.fixture(autouse=True)
async def signing(database_url: str) -> None:
    """A key to sign tokens with, which a hub makes when it starts."""
    await ensure_signing_key(database_url, await installation_secret(database_url))


async def token_of(rest: RestServer, key: str, scopes: Collection[str]) -> str:
    """Let the hub sign a token."""
    made = await rest.call("POST", "/v2/tokens", key, body={"subject": "user:ada", "scopes": list(scopes)})
    assert made.status == 201, made.body
    return made.json()["token"]


def detail_of(answer: Answer) -> dict[str, Any]:
    """Return what X-Debug says, after what holds of every one."""
    text = answer.headers["X-Debug"]
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 4096
    return json.loads(text)


def parts_of(answer: Answer) -> set[str]:
    """Return what Server-Timing names."""
    given = answer.headers["Server-Timing"].split(", ")
    assert all(re.fullmatch(r"[a-z]+;dur=\d+(\.\d+)?(e-\d+)?", each) for each in given), given
    return {each.partition(";")[0] for each in given}


async def test_signed_header_of_an_admin_shows_one_request(
    rest: RestServer, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was asked and answered, who asked, how long each part took; in the log too."""
    token = await token_of(rest, key, ["hub:admin"])
    body = {"name": "Ada \u2603", **SECRETS}
    headers = {"X-Hub-Debug": token, "X-Request-Id": "seen-1", "Cookie": "a=s3cr3t-4", "Idempotency-Key": "s3cr3t-5"}
    capsys.readouterr()
    answer = await rest.call("POST", "/v2/agents?ticket=", key, headers=headers, body=body)
    answer.error(400, "UNKNOWN_PARAMETER")
    assert detail_of(answer)["status"] == 400
    answer = await rest.call("POST", "/v2/agents", key, headers=headers, body=body)
    assert answer.status == 201
    detail = detail_of(answer)
    assert parts_of(answer) == {"auth", "limit", "validate", "sql", "render", "total"}
    assert (detail["method"], detail["path"], detail["status"]) == ("POST", "/v2/agents", 201)
    assert detail["operation"] == "agents.create"
    assert detail["caller"]["subject"].startswith("key:")
    assert json.loads(detail["request_body"])["name"] == "Ada \u2603"
    assert json.loads(detail["answer_body"])["metadata"]["fine"] == "seen"
    assert detail["request_headers"]["Authorization"] == "***"
    logged = capsys.readouterr().out
    assert "request_detail" in logged
    assert "seen-1" in logged
    for shown in (answer.headers["X-Debug"], logged):
        assert "s3cr3t" not in shown
        assert key not in shown
        assert token not in shown


async def test_nobody_else_gets_the_detail(rest: RestServer, key: str, organisations: Organisations) -> None:
    """Not by a key, a token without the scope, another organisation's, nonsense, or without the header."""
    other = await (await organisations.create()).key()
    given = {
        key: "token",
        "nonsense": "neither",
        await token_of(rest, key, ALL_SCOPES - {"hub:admin"}): "hub:admin",
        await token_of(rest, other, ["hub:admin"]): "organisation",
    }
    for credential, why in given.items():
        answer = await rest.call("GET", "/v2/agents", key, headers={"X-Hub-Debug": credential})
        assert why in answer.error(403, "FORBIDDEN")["message"]
        assert not {"X-Debug", "Server-Timing"} & set(answer.headers)
    plain = await rest.call("GET", "/v2/agents", key)
    assert not {"X-Debug", "Server-Timing"} & set(plain.headers)
    unknown = await rest.call("GET", "/v2/agents", "none", headers={"X-Hub-Debug": next(iter(given))})
    assert "X-Debug" not in unknown.headers


async def test_batch_is_shown_as_one_request(rest: RestServer, key: str) -> None:
    """With all that it did; what is secret within it is masked too."""
    token = await token_of(rest, key, ["hub:admin"])
    operations = [{"method": "POST", "path": "/v2/agents", "body": {"name": "Ada", **SECRETS}}] * 2
    answer = await rest.call("POST", "/v2/batch", key, headers={"X-Hub-Debug": token}, body={"operations": operations})
    detail = detail_of(answer)
    assert (answer.status, detail["operation"]) == (200, "batch")
    assert parts_of(answer) >= {"auth", "limit", "validate", "sql", "render", "total"}
    assert '"results"' in detail["answer_body"]
    assert "s3cr3t" not in answer.headers["X-Debug"]


async def test_packed_answer_is_shown_unpacked(rest: RestServer, key: str) -> None:
    """What the header and the log show is for people."""
    token = await token_of(rest, key, ["hub:admin"])
    made = await rest.call("POST", "/v2/agents", key, body={"name": "Ada", "metadata": {"a": "b" * 2000}})
    headers = {"X-Hub-Debug": token, "Accept-Encoding": "gzip"}
    answer = await rest.call("GET", made.headers["Location"], key, headers=headers)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert '"name":"Ada"' in detail_of(answer)["answer_body"]


async def test_setting_shows_every_request_also_one_without_a_caller(
    database_url: str, clock: ManualClock, key: str
) -> None:
    """Refusals and what needs no credential too; a secret that is made is masked where it is shown, and only there."""
    async with serve(database_url, clock, operations().values(), debug=True) as rest:
        refused = await rest.call("GET", "/v2/agents", "aim_live_s3cr3t")
        assert detail_of(refused)["status"] == 401
        assert "s3cr3t" not in refused.headers["X-Debug"]
        assert parts_of(await rest.call("GET", "/livez")) == {"total"}
        made = await rest.call("POST", "/v2/keys", key, body={"name": "one", "scopes": ["read:agents"]})
        assert made.json()["key"] not in made.headers["X-Debug"]
        assert json.loads(detail_of(made)["answer_body"])["key"] == "***"
        read = await rest.call("GET", "/v2/agents?filter[name]=aim_live_s3cr3t", key)
        assert parts_of(read) >= {"auth", "limit", "validate", "sql", "render", "total"}
        assert "s3cr3t" not in read.headers["X-Debug"]


async def test_header_is_bounded_whatever_is_shown(database_url: str, clock: ManualClock, key: str) -> None:
    """Long bodies, paths, and texts that take six times their length in ASCII."""
    async with serve(database_url, clock, operations().values(), debug=True) as rest:
        for name in ("a" * 200, "\u2603" * 200):
            body = {"name": name, "metadata": {f"n{number}": name * 10 for number in range(50)}}
            made = await rest.call("POST", "/v2/agents", key, body=body)
            assert made.status == 201
            assert detail_of(made)["status"] == 201
        many = {f"X-{number}": "\xe9" * 60 for number in range(60)}
        assert detail_of(await rest.call("GET", "/v2/agents", key, headers=many))["status"] == 200
        nowhere = await rest.call("GET", "/" + "%E2%98%83" * 700, key)
        assert detail_of(nowhere)["status"] == 404
