"""An endpoint of webhooks: `python -m tests.faults.endpoint <plan>`. It verifies all that comes, and is at times broken.

A subscription of its plan has `id`, `name` and `secret`; its URL is `/<name>`. The port is one that the test has reserved.
"""

import asyncio
import json
import os
import random
import socket
from collections.abc import Mapping
from itertools import count
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.faults.consuming import Plan, consume
from tests.harness.journal import Journal, received
from tests.harness.waiting import let_pass

# In so many of a thousand requests: it answers 500; hangs and then ends the connection; takes long.
FAILED, HUNG, SLOW = 10, 3, 10


class Receiver:
    """What the endpoint does with a request."""

    def __init__(self, plan: Plan, journal: Journal, chance: random.Random) -> None:
        self._journal, self._chance = journal, chance
        self._secrets = {each["name"]: Webhook(each["secret"]) for each in plan.subscriptions}
        self._numbers = count()

    async def take(self, request: web.Request) -> web.Response:
        """Note what has come, then answer as chance says. Raises HTTPBadRequest for what is not signed."""
        name = request.match_info["name"]
        event = self._verified(name, await request.text(), request.headers)
        replayed = request.headers.get("webhook-replayed") == "true"
        hold = f"{os.getpid()}.{next(self._numbers)}"
        self._journal.given(name, received(hold, event, event["position"], replayed=replayed))
        luck = self._chance.random() * 1000
        if luck < FAILED:
            self._journal.said("refuse", [hold])
            return web.Response(status=500, text="broken")
        if luck < FAILED + HUNG:
            await let_pass(self._chance.uniform(1, 4))
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if luck < FAILED + HUNG + SLOW:
            await let_pass(self._chance.uniform(0, 1))
        self._journal.said("ack", [hold])
        return web.Response(text="OK")

    def _verified(self, name: str, body: str, headers: Mapping[str, str]) -> Any:
        try:
            self._secrets[name].verify(body, {key.lower(): value for key, value in headers.items()})
        except WebhookVerificationError as error:
            self._journal.wrong(name, f"{error}: {dict(headers)}")
            raise web.HTTPBadRequest from error
        event = json.loads(body)
        if headers["webhook-id"] != event["id"]:
            self._journal.wrong(name, f"webhook-id {headers['webhook-id']} of {event['id']}")
        return event


def reserved(port: int = 0) -> socket.socket:
    """Return a socket that has a port, and listens only where it is told to: who has it otherwise keeps the port from others."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


async def receive(plan: Plan, journal: Journal, chance: random.Random) -> None:
    """Serve until cancelled."""
    app = web.Application()
    app.router.add_post("/{name}", Receiver(plan, journal, chance).take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, reserved(plan.port)).start()
    print("consumes", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    consume(receive)
