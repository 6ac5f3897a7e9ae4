"""How tests send batches, and what they look at in the results."""

from collections.abc import Sequence
from typing import Any

from tests.rest.server import RestServer

BATCH = "/v2/batch"
LINES = {"Accept": "application/x-ndjson"}


def create(name: str, kind: str = "agents", **body: Any) -> dict[str, Any]:
    """Return the operation that makes a resource."""
    return {"method": "POST", "path": f"/v2/{kind}", "body": {"name": name, **body}}


async def send(
    rest: RestServer, key: str, *several: Any, path: str = BATCH, headers: Any = None, **more: Any
) -> Sequence[dict[str, Any]]:
    """Send a batch that is answered 200, and return its results."""
    answer = await rest.call("POST", path, key, body={"operations": several, **more}, headers=headers)
    assert answer.status == 200, answer
    results = answer.json()["results"]
    assert len(results) == len(several)
    for result in results:
        assert list(result) == ["status", "headers", "body"]
    return results


def statuses(results: Sequence[dict[str, Any]]) -> list[int]:
    """Return the status of each result."""
    return [result["status"] for result in results]


def code(result: dict[str, Any]) -> str:
    """Return the code of a result that is a refusal."""
    return result["body"]["error"]["code"]


async def count(rest: RestServer, key: str, kind: str = "agents") -> int:
    """Return how many resources of a kind there are."""
    return (await rest.call("GET", f"/v2/{kind}", key)).json()["pagination"]["total"]
