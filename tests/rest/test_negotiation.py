"""`Accept` and `Content-Type`: which form is read and written, and which there is not."""

import orjson
import pytest

from tests.rest.jsonapi.documents import MEDIA, document, errors
from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import RestServer

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR

_AGENT = {"data": {"type": "agents", "attributes": {"name": "a"}}}


@pytest.mark.parametrize(
    "accept",
    [
        MEDIA,
        "Application/VND.API+JSON",
        f"{MEDIA}, application/json",
        f"application/json;q=0.9, {MEDIA}",
        f"text/html, {MEDIA};q=0.1, */*;q=0.5",
        f'{MEDIA}; profile="https://example.com/one https://example.com/two, three"',
        f"{MEDIA}; charset=utf-8, {MEDIA}",
        f"{MEDIA};q=1;anything=x",
    ],
)
async def test_jsonapi_is_written_to_who_prefers_it(rest: RestServer, key: str, accept: str):
    """Profiles that are not known are ignored, and so are instances with other parameters, where there is one without."""
    answer = await rest.call("GET", "/v2/agents", key, headers={"Accept": accept})
    assert document(answer, 200)["data"] == []


@pytest.mark.parametrize(
    "accept",
    [
        f"{MEDIA}; charset=utf-8",
        f"{MEDIA}; charset=utf-8, {MEDIA}; version=1",
        f'{MEDIA}; ext="https://example.com/none"',
        f"application/json, {MEDIA}; charset=utf-8",
    ],
)
async def test_parameters_in_accept_are_406(rest: RestServer, key: str, accept: str):
    """Where every instance of the media type has one (JSON:API, "Server Responsibilities")."""
    assert errors(await rest.call("GET", "/v2/agents", key, headers={"Accept": accept}), 406) == [
        ("NOT_ACCEPTABLE", None)
    ]


@pytest.mark.parametrize("parameter", ["charset=utf-8", 'ext="https://example.com/none"', "version=1"])
async def test_parameters_in_content_type_are_415(rest: RestServer, key: str, parameter: str):
    """Other than profile, which is taken."""
    sent = {"Content-Type": f"{MEDIA}; {parameter}"}
    refused = await rest.call("POST", "/v2/agents", key, body=_AGENT, headers=sent)
    assert errors(refused, 415) == [("UNSUPPORTED_MEDIA_TYPE", None)]
    taken = {"Content-Type": f'{MEDIA}; profile="https://example.com/one"'}
    document(await rest.call("POST", "/v2/agents", key, body=_AGENT, headers=taken), 201)


async def test_who_sends_jsonapi_gets_it(rest: RestServer, key: str):
    """Unless it asks for plain JSON."""
    made = await rest.call("POST", "/v2/agents", key, body=_AGENT, headers={"Content-Type": MEDIA})
    assert document(made, 201)["data"]["attributes"]["name"] == "a"
    both = {"Content-Type": MEDIA, "Accept": "application/json, text/plain, */*"}
    assert (await rest.call("POST", "/v2/agents", key, body=_AGENT, headers=both)).json()["name"] == "a"


class TestProblems:
    """RFC 9457."""

    async def test_refusal_is_a_problem_to_who_accepts_one(self, rest: RestServer, key: str):
        """The members of the RFC, and those of the plain error; answers that are no refusal are as ever."""
        accept = {"Accept": "application/json, application/problem+json"}
        assert (await rest.call("GET", "/v2/agents", key, headers=accept)).json()["data"] == []
        refused = await rest.call("POST", "/v2/agents", key, body={"name": ""}, headers=accept)
        assert (refused.status, refused.headers["Content-Type"]) == (422, "application/problem+json")
        problem = orjson.loads(refused.body)
        assert problem.pop("timestamp").endswith("Z")
        assert problem == {
            "type": "/errors#VALIDATION_ERROR",
            "title": "The request contains invalid parameters",
            "status": 422,
            "detail": "The request contains invalid parameters",
            "code": "VALIDATION_ERROR",
            "details": [
                {
                    "field": "name",
                    "code": "VALUE_OUT_OF_RANGE",
                    "message": "String should have at least 1 character",
                }
            ],
            "request_id": refused.headers["X-Request-Id"],
        }

    @pytest.mark.parametrize("path", ["/v2/nothing", "/versions?x=1", "/v2/agents"])
    async def test_every_endpoint_has_problems(self, rest: RestServer, path: str):
        """Also those that run no operation, and where nothing is."""
        accept = {"Accept": "application/problem+json"}
        method = "POST" if path.startswith("/versions") else "GET"
        refused = await rest.call(method, path, headers=accept)
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert orjson.loads(refused.body)["status"] == refused.status
        assert "Accept" in refused.headers["Vary"]

    async def test_who_reads_documents_gets_documents(self, rest: RestServer, key: str):
        """JSON:API has errors of its own."""
        accept = {"Accept": f"{MEDIA}, application/problem+json"}
        assert errors(await rest.call("GET", "/v2/nothing", key, headers=accept), 404) == [("RESOURCE_NOT_FOUND", None)]
