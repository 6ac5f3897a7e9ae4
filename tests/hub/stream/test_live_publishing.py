"""Publishing into live rooms and reading their history over the stream: what may be, how fast, and what is refused."""

from typing import Any
from uuid import uuid4

import pytest

from core.auth.organisations import set_limits
from core.auth.tiers import TIERS
from core.store.database import connect_as
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.valkey import OwnRedis
from tests.hub.stream.node import Node, serve
from tests.hub.stream.speaking import place_of, publish, refused

pytestmark = pytest.mark.each_redis


class TestHistory:
    """The latest, what follows an offset, what is before one."""

    async def test_pages_of_a_history(self, node: Node, key: str):
        async with node.open(key) as client:
            result = [await publish(client, "chat:a", number) for number in range(1, 11)][-1]

            async def history(**fields: Any) -> tuple[list[int], bool]:
                found = (await client.ask({"type": "history", "channel": "chat:a", **fields}))["result"]
                assert (found["channel"], found["offset"], found["epoch"]) == ("chat:a", "10", result["epoch"])
                assert all(each["offset"] == str(each["event"]["data"]) for each in found["events"])
                return [each["event"]["data"] for each in found["events"]], found["recovered"]

            assert await history() == (list(range(1, 11)), True)
            assert await history(limit=3) == ([8, 9, 10], True)
            assert await history(limit=3, before="8") == ([5, 6, 7], True)
            assert await history(limit=3, offset="4") == ([5, 6, 7], True)
            assert await history(offset="10", epoch=result["epoch"]) == ([], True)
            assert await history(limit=2, offset="4", epoch="other") == ([9, 10], False)
            assert await history(limit=2, offset="11") == ([9, 10], False)

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"channel": "agents"}, "CHANNEL_NOT_FOUND"),
            ({"channel": "chat:"}, "CHANNEL_NOT_FOUND"),
            ({"channel": "chat:" + "x" * 300}, "CHANNEL_NOT_FOUND"),
            ({}, "VALIDATION_ERROR"),
            ({"channel": 7}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "limit": 0}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "limit": 257}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "limit": True}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "offset": "1", "before": "2"}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "before": "x"}, "VALIDATION_ERROR"),
        ],
    )
    async def test_what_cannot_be_read(self, node: Node, key: str, fields: dict[str, Any], code: str):
        async with node.open(key) as client:
            assert await refused(client, {"type": "history", **fields}) == code


class TestPublishing:
    """Who may, what, and how often."""

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"channel": "agents", "data": 1}, "FORBIDDEN"),
            ({"channel": f"runs:{uuid4()}", "data": 1}, "FORBIDDEN"),
            ({"channel": f"sessions:{uuid4()}", "data": 1}, "FORBIDDEN"),
            ({"channel": "nope:x", "data": 1}, "CHANNEL_NOT_FOUND"),
            ({"channel": "users:", "data": 1}, "CHANNEL_NOT_FOUND"),
            ({"channel": "users", "data": 1}, "CHANNEL_NOT_FOUND"),
            ({"channel": "chat:a b", "data": 1}, "CHANNEL_NOT_FOUND"),
            ({"channel": "chat:a"}, "VALIDATION_ERROR"),
            ({"data": 1}, "VALIDATION_ERROR"),
            ({"channel": "chat:a", "data": "x" * 16 * 1024}, "PAYLOAD_TOO_LARGE"),
        ],
    )
    async def test_what_cannot_be_published(self, node: Node, key: str, fields: dict[str, Any], code: str):
        async with node.open(key) as client:
            assert await refused(client, {"type": "publish", **fields}) == code

    async def test_deep_data_is_refused(self, node: Node, key: str):
        """The connection lives."""
        async with node.open(key) as client:
            deep: list[Any] = []
            for _ in range(499):
                deep = [deep]
            await client.send({"type": "publish", "channel": "chat:a", "data": deep})
            assert (await client.expect("error"))["error"]["code"] in ("VALIDATION_ERROR", "BAD_REQUEST")
            assert await publish(client, "chat:a", None)

    async def test_scopes(self, node: Node, organisation: Organisation):
        """Reading is `read:streams`, publishing `write:streams`."""
        async with node.open(await organisation.key(["read:streams"])) as reader:
            assert place_of(await reader.subscribe("chat:a"))[0] == "0"
            code = await refused(reader, {"type": "publish", "channel": "chat:a", "data": 1})
            assert code == "INSUFFICIENT_SCOPE"
        async with node.open(await organisation.key(["write:streams"])) as writer:
            await publish(writer, "chat:a", 1)
            assert (await writer.subscribe("chat:a"))["channels"][0]["error"]["code"] == "INSUFFICIENT_SCOPE"
        async with node.open(await organisation.key(resource_ids=[uuid4()])) as restricted:
            assert await refused(restricted, {"type": "publish", "channel": "chat:a", "data": 1}) == "FORBIDDEN"
            assert (await restricted.subscribe("chat:a"))["channels"][0]["error"]["code"] == "FORBIDDEN"

    async def test_rate_of_a_connection(self, node: Node, key: str, clock: ManualClock):
        """A burst, then so many a second; another connection has its own."""
        per_second = TIERS["enterprise"].publishes_per_second
        async with node.open(key) as client, node.open(key) as other:
            frame = {"type": "publish", "channel": "chat:a", "data": 1}
            for _ in range(2 * per_second):
                await publish(client, "chat:a", 1)
            assert await refused(client, frame) == "RATE_LIMIT_EXCEEDED"
            await publish(other, "chat:a", 1)
            await clock.advance(1.001 / per_second)
            await publish(client, "chat:a", 1)
            assert await refused(client, frame) == "RATE_LIMIT_EXCEEDED"

    async def test_rate_is_the_organisations(self, node: Node, organisation: Organisation, key: str, database_url: str):
        """Its own limit takes the place of the tier's."""
        owner = await connect_as(database_url, "hub_owner")
        await set_limits(owner, organisation.slug, {"publishes_per_second": 1})
        await owner.close()
        async with node.open(key) as client:
            for _ in range(2):
                await publish(client, "chat:a", 1)
            assert await refused(client, {"type": "publish", "channel": "chat:a", "data": 1}) == "RATE_LIMIT_EXCEEDED"

    async def test_without_redis_it_is_refused_and_the_socket_stays(
        self, database_url: str, own_redis: OwnRedis, key: str, clock: ManualClock
    ):
        """With a code that says to try again."""
        async with serve(database_url, own_redis.url, clock) as node, node.open(key) as client:
            await publish(client, "chat:a", 1)
            own_redis.kill()
            frame = {"type": "publish", "channel": "chat:a", "data": 1}
            assert await refused(client, frame) == "SERVICE_UNAVAILABLE"
            own_redis.start()
            assert (await publish(client, "chat:a", 2))["offset"]
