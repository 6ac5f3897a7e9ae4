"""The REST door against its own document: no failure, and no answer that the document does not describe."""

import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.rest.tried import NEWEST, token_of, tried

SEED = "20240630"


@pytest.mark.slow
@pytest.mark.deadline(400)
@pytest.mark.parametrize(
    ("media_type", "arguments"),
    [
        ("application/json", ()),
        # What has no body is asked the same way in both.
        (
            "application/vnd.api+json",
            ("--include-method", "POST", "--include-method", "PUT", "--include-method", "PATCH"),
        ),
    ],
)
async def test_answers_are_those_that_the_document_describes(
    media_type: str,
    arguments: tuple[str, ...],
    database_url: str,
    redis_url: str,
    engines: EngineUrls,
    organisation: Organisation,
    hubs: HubProcesses,
) -> None:
    """Every operation of the newest version, by all checks, for a minute or two; `make fuzz` tries all versions for long."""
    hub = await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))
    token = await token_of(hub, await organisation.key())
    hub.data.mkdir(exist_ok=True)
    code, output = await tried(hub, token, *NEWEST, *arguments, "-n", "2", "--seed", SEED, media_type=media_type)
    assert code == 0, output[-12_000:]
    assert "passed" in output
    assert "request_failed" not in hub.output()
