"""What a Python team would build: a worker of procrastinate, whose jobs sign an event and post it with httpx.

    procrastinate_worker.py DATABASE_URL RECEIVER_URL

As the documentation has it for production: the asynchronous connector with a pool, LISTEN/NOTIFY on, jobs kept when they are
done, and so many at a time that the worker is never idle.
"""

import base64
import hmac
import sys
import time
import uuid

import httpx
import procrastinate
import uvloop
from serving import end_with_parent

AT_ONCE = 64
SECRET = b"0123456789abcdef0123456789abcdef"

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=sys.argv[1], min_size=4, max_size=20), import_paths=[]
)
client = httpx.AsyncClient(timeout=15, limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE))


@app.task(name="deliver", queue="events", retry=procrastinate.RetryStrategy(max_attempts=8, exponential_wait=5))
async def deliver(event: str) -> None:
    """Post one event, signed as Standard Webhooks has it."""
    id, moment = str(uuid.uuid4()), str(int(time.time()))
    signature = base64.b64encode(hmac.digest(SECRET, f"{id}.{moment}.{event}".encode(), "sha256")).decode()
    headers = {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{signature}",
    }
    answer = await client.post(sys.argv[2], content=event, headers=headers)
    answer.raise_for_status()


async def main() -> None:
    """Work until it is ended."""
    async with app.open_async():
        # As everywhere: it serves now; who calls has no address to go to.
        print("serves on http://127.0.0.1:0", flush=True)
        await app.run_worker_async(queues=["events"], concurrency=AT_ONCE, install_signal_handlers=False)


if __name__ == "__main__":
    end_with_parent()
    uvloop.run(main())
