"""Every peer does the work: its members join, and each gets each message of its own room once.

Those that are not installed are skipped, and say so.
"""

from pathlib import Path

import pytest

from benchmarks.contenders import PeerContender, Place, redis_process
from benchmarks.generator import build_generators
from benchmarks.job import Crowd, Job, Pace, encode
from benchmarks.peers.catalogue import PEERS, Peer, redis_address, redis_command
from benchmarks.server import CHECKOUT

MEMBERS = 20
# Enough for one message on a machine that has little time.
MEASURED_SECONDS = 1.0


@pytest.fixture
async def place(redis_url: str, tmp_path: Path) -> Place:
    """Peers start beside the tests' Redis, on any core."""
    process = await redis_process(redis_url)
    return Place(build_generators(tmp_path), None, tmp_path, redis_url, process)


@pytest.mark.parametrize("rooms", [1, 2])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.key)
async def test_peer_delivers_each_message_to_each_member_of_its_room(place: Place, peer: Peer, rooms: int):
    """The generator ends with a fault where one comes twice or to another room; what has not reached all is not counted."""
    if not peer.is_installed:
        pytest.skip(f"{peer.key} is not installed: make peers")
    run = await PeerContender(place, peer).run(Crowd(MEMBERS, rooms), Pace(0.05, MEASURED_SECONDS, in_flight=4))
    assert run.deliveries >= MEMBERS // rooms
    assert run.p50_ms > 0


def test_job_is_read_as_it_was_written():
    """Values may hold anything, line ends too; a key may come again."""
    records: list[tuple[str, str | bytes]] = [("message", b"\x00\n1 2\n"), ("members", "20"), ("message", "")]
    job = Job.decode(encode(records))
    assert job.records == {"message": [b"\x00\n1 2\n", b""], "members": [b"20"]}
    assert (job.number("members"), job.number("rooms", 1)) == (20, 1)


def test_redis_command_counts_bytes():
    """Not letters."""
    assert redis_command("PUBLISH", "room:0001", "é") == b"*3\r\n$7\r\nPUBLISH\r\n$9\r\nroom:0001\r\n$2\r\n\xc3\xa9\r\n"


def test_redis_is_found_by_path_or_by_port():
    """As the hub's own engines have it, and as others do."""
    assert redis_address("unix:///run/a%20b.sock") == ("/run/a b.sock", 6379)
    assert redis_address("redis://127.0.0.1:7001/0") == ("127.0.0.1", 7001)


@pytest.mark.parametrize(
    "lock", ["requirements.txt", "node/package-lock.json", "go/go.mod", "go/go.sum"], ids=lambda name: Path(name).name
)
def test_locks_of_the_peers_name_no_download_host(lock: str):
    """Packages come from wherever this machine gets its packages."""
    text = (CHECKOUT / "benchmarks" / "peers" / lock).read_text()
    assert [word for word in ("--index-url", "--find-links", '"resolved"', "replace ") if word in text] == []
