"""The live part of the SDK: channels of a hub as async iterators, over one connection that comes back by itself.

    async with LiveClient("https://hub.example.com", api_key="aim_live_...") as live:
        async for event in live.subscribe("agents"):
            print(event.type, event.data)

docs/clients.md of the hub has the state machine, docs/clients-python.md the guide.
"""

from aimatrix.live.client import LiveClient
from aimatrix.live.clock import Clock, SystemClock
from aimatrix.live.errors import (
    AnswerLost,
    ChannelRefused,
    CredentialRefused,
    LiveError,
    NotAnswered,
    RequestRefused,
    StateLost,
    Stopped,
)
from aimatrix.live.events import Event, Frame, Reset
from aimatrix.live.places import Place
from aimatrix.live.signals import Changed, State
from aimatrix.live.subscription import Subscription
from aimatrix.live.threaded import ThreadedLiveClient, ThreadedSubscription

__all__ = [
    "AnswerLost",
    "Changed",
    "ChannelRefused",
    "Clock",
    "CredentialRefused",
    "Event",
    "Frame",
    "LiveClient",
    "LiveError",
    "NotAnswered",
    "Place",
    "RequestRefused",
    "Reset",
    "State",
    "StateLost",
    "Stopped",
    "Subscription",
    "SystemClock",
    "ThreadedLiveClient",
    "ThreadedSubscription",
]
