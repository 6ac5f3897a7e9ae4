"""The peers: how each is started, how its clients join, and what its own publishers put on its broker.

All do the same: a publisher outside, the broker, rooms, members. What they leave out, the hub does: credentials, limits, offsets,
history and recovery are on in the hub, and nothing of it is in the peers but where their notes say so.
"""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgpack
import orjson

from benchmarks.generator import BUILD
from benchmarks.job import Broker, Joining

_HERE = Path(__file__).parent
INSTALLED = BUILD / "peers"

_PLAIN = Joining(steps=(("", "join RRRR"),), ready="joined")
_SOCKETIO = Joining(
    path="/socket.io/?EIO=4&transport=websocket",
    steps=(("0{", "40"), ("40{", '42["join","RRRR"]')),
    ready='42["joined"',
    ping="2",
    pong="3",
)
_CENTRIFUGE = Joining(
    steps=(("", '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"RRRR"}}'),),
    ready='"id":2',
    ping="{}",
    pong="{}",
)
_NATS_CONNECT = 'CONNECT {"verbose":false,"pedantic":false}\r\n'
_NATS = Joining(
    steps=(("INFO ", _NATS_CONNECT + "SUB room.RRRR 1\r\nPING\r\n"),),
    ready="PONG",
    is_binary=True,
    ping="PING\r\n",
    pong="PONG\r\n",
)

# Writes what is sent to Redis to publish an event in a room: its channel, and the message.
Encoding = Callable[[str, str], tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them. `program` is what must be there, `arguments` follow it; REDIS_URL, REDIS_HOST and REDIS_PORT are filled in.

    `encoding` is None for a peer that is its own broker. `per_second` is what it is paced at where the others are at 50 messages a
    second to 1,000 members. `for_all` is false where 10,000 members at one message a second are beyond it.
    """

    key: str
    title: str
    program: Path
    arguments: tuple[str, ...]
    joining: Joining
    encoding: Encoding | None
    launcher: tuple[str, ...] = ()
    per_second: float = 50.0
    for_all: bool = True
    main: bool = True

    @property
    def is_installed(self) -> bool:
        """Whether it can be started."""
        return self.program.exists() and all(shutil.which(name) is not None for name in self.launcher)

    def command(self, redis_url: str) -> list[str]:
        """Return how it is started."""
        host, port = redis_address(redis_url)
        values = {"REDIS_URL": redis_url, "REDIS_HOST": host, "REDIS_PORT": str(port)}
        return [*self.launcher, str(self.program), *(values.get(part, part) for part in self.arguments)]

    def channel(self, room: int) -> str:
        """Name the pub/sub channel of a room."""
        return self.encoding(room_name(room), "{}")[0] if self.encoding is not None else ""

    def broker(self, redis_url: str, announced: list[str], event: str, rooms: int) -> Broker:
        """Tell the generator how to publish `event`, whose places for numbers stay."""
        if self.encoding is None:
            address = urlsplit(f"//{announced[0].rpartition(' ')[2]}")
            messages = [f"PUB room.{room_name(room)} {len(event)}\r\n{event}\r\n".encode() for room in range(rooms)]
            return Broker(address.hostname or "", address.port or 0, messages, _NATS_CONNECT.encode())
        messages = [redis_command("PUBLISH", *self.encoding(room_name(room), event)) for room in range(rooms)]
        return Broker(*redis_address(redis_url), messages)


def room_name(room: int) -> str:
    """Write a room as the generator fills it in."""
    return f"{room:04}"


def redis_address(url: str) -> tuple[str, int]:
    """Return host and port of a Redis; of one that listens in the file system its path, and any port."""
    parts = urlsplit(url)
    return (unquote(parts.path), 6379) if parts.scheme == "unix" else (parts.hostname or "", parts.port or 6379)


def redis_command(*parts: str | bytes) -> bytes:
    """Write a command as Redis reads it."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded)


def _plain(room: str, event: str) -> tuple[str, bytes]:
    return f"room:{room}", event.encode()


def _python_socketio(room: str, event: str) -> tuple[str, bytes]:
    """As socketio.RedisManager(write_only=True).emit() does."""
    message = {
        "method": "emit",
        "event": "message",
        "data": [orjson.loads(event)],
        "binary": False,
        "namespace": "/",
        "room": room,
        "skip_sid": None,
        "callback": None,
        "host_id": "benchmark",
    }
    return "socketio", orjson.dumps(message)


def _channels(room: str, event: str) -> tuple[str, bytes]:
    """As get_channel_layer().group_send() does."""
    return f"asgi__group__{room}", msgpack.packb({"type": "room.message", "message": event}) or b""


def _socketio(room: str, event: str) -> tuple[str, bytes]:
    """As @socket.io/redis-emitter does."""
    packet = {"type": 2, "data": ["message", orjson.loads(event)], "nsp": "/"}
    options = {"rooms": [room], "except": [], "flags": {}}
    return f"socket.io#/#{room}#", msgpack.packb(["emitter", packet, options]) or b""


def _centrifuge(room: str, event: str) -> tuple[str, bytes]:
    """As the Redis broker of another node does without history: a Publication whose field 4 is the data."""
    data, length, sizes = event.encode(), len(event.encode()), b""
    while length > 127:
        sizes += bytes((length & 127 | 128,))
        length >>= 7
    return f"centrifuge.client.{room}", b"\x22" + sizes + bytes((length,)) + data


def _in_python(key: str, title: str, encoding: Encoding, joining: Joining = _PLAIN, **more: float | bool) -> Peer:
    script = str(_HERE / "servers" / f"{key}_server.py")
    python = INSTALLED / "venv" / "bin" / "python"
    return Peer(key, title, python, (script, "REDIS_URL"), joining, encoding, **more)  # pyright: ignore[reportArgumentType]


def _floor(key: str, title: str, how: str, *, main: bool) -> Peer:
    arguments = ("REDIS_HOST", "REDIS_PORT", how)
    return Peer(key, title, INSTALLED / "floor", arguments, _PLAIN, _plain, main=main)


PEERS = (
    _floor("floor", "the floor in C: one `send()` a member and message, nothing joined", "alone", main=True),
    _floor("floor-joined", "the floor, which joins what piled up in Redis", "joined", main=False),
    Peer(
        "naive",
        "naive aiohttp: `await ws.send_str` in a loop",
        Path(sys.executable),
        ("-m", "benchmarks.peers.naive", "REDIS_URL"),
        _PLAIN,
        _plain,
    ),
    _in_python("websockets", "websockets, `broadcast()`", _plain),
    _in_python("fastapi", "FastAPI on uvicorn, its ConnectionManager", _plain),
    _in_python("socketio", "python-socketio, Redis manager", _python_socketio, _SOCKETIO, per_second=5.0),
    _in_python("channels", "Channels, channels-redis pub/sub", _channels, per_second=2.0, for_all=False),
    Peer("node-ws", "node `ws`", INSTALLED / "node" / "ws.js", ("REDIS_URL",), _PLAIN, _plain, ("node",)),
    Peer(
        "socket.io",
        "Socket.IO, Redis adapter",
        INSTALLED / "node" / "socketio.js",
        ("REDIS_URL",),
        _SOCKETIO,
        _socketio,
        ("node",),
    ),
    Peer("nats", "NATS over WebSocket, its own broker", INSTALLED / "nats", (), _NATS, None),
    Peer(
        "centrifuge",
        "Centrifuge (library of Centrifugo), Redis broker",
        INSTALLED / "centrifuge",
        ("REDIS_URL",),
        _CENTRIFUGE,
        _centrifuge,
    ),
)
