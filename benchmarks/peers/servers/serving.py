"""What the peers in Python have in common: they say where they serve, and end with their parent."""

import os
import socket
import sys
import threading

import uvicorn

# As everywhere in the benchmark: what is published in `room:0007` goes to the members of room 0007.
PATTERN = "room:*"


def end_with_parent() -> None:
    """End this process when its standard input does."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def listen() -> socket.socket:
    """Listen on a free port, and say which."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"serves on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    return listener


def serve(app: object, *, lifespan: str = "on") -> None:
    """Serve an ASGI application as in production: uvloop, httptools, no access log, no permessage-deflate."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
        backlog=2048,
        lifespan=lifespan,
    )
    end_with_parent()
    uvicorn.Server(config).run(sockets=[listen()])
