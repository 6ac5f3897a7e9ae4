"""The client for programs without an event loop: the same, in a thread."""

import asyncio
import threading

import pytest

from aimatrix.live import ChannelRefused, CredentialRefused, Place, Stopped, ThreadedLiveClient
from tests.harness.organisations import Organisation
from tests.hub.stream.node import Node
from tests.sdks.python.following import http


async def test_program_without_a_loop_reads_and_asks(node: Node, organisation: Organisation, key: str):
    """Events in order, from several threads too; errors as they are; nothing is left in the end."""
    threads = threading.active_count()
    joined, sent = threading.Event(), list[int]()

    def program() -> list[int]:
        came: list[int] = []
        with ThreadedLiveClient(http(node.url), api_key=key) as live:
            agents = live.subscribe("agents").joined()
            assert agents.place is not None
            joined.set()
            for event in agents:
                came.append(event.data["number"])
                if len(came) == 50:
                    break
            place = live.publish("chat:lobby", {"text": "Hello"})
            assert len(live.history("chat:lobby")["events"]) == 1
            with live.subscribe("chat:lobby", place=Place("0", place["epoch"])) as lobby:
                assert next(lobby).data == {"text": "Hello"}
            with pytest.raises(StopIteration):
                next(lobby)
            with pytest.raises(ChannelRefused):
                live.subscribe("nowhere:x").joined()
            assert live.call("agents.create", {"name": "Ada", "type": "assistant"})["name"] == "Ada"
            waiting = threading.Thread(target=lambda: came.extend(len(each.id) for each in agents))
            waiting.start()
        waiting.join()
        with pytest.raises(Stopped):
            live.publish("chat:lobby", {})
        return came

    running = asyncio.ensure_future(asyncio.to_thread(program))
    await asyncio.to_thread(joined.wait, 30)
    sent += await node.emit(organisation.id, 50)
    assert (await running)[:50] == sent
    assert not [each for each in threading.enumerate() if each.name == "aimatrix.live"], threads


async def test_bad_arguments_and_credentials_are_told(node: Node):
    """Where the client is made, and where it is asked."""

    def program() -> None:
        with pytest.raises(ValueError, match="api_key"):
            ThreadedLiveClient("http://127.0.0.1:1")
        with ThreadedLiveClient(http(node.url), api_key="aim_live_nobody") as live, pytest.raises(CredentialRefused):
            live.live()

    await asyncio.to_thread(program)
