"""The AIMatrix SDK for Python. What it has so far is its live part, `aimatrix.live`."""

from aimatrix.live import LiveClient, ThreadedLiveClient

__all__ = ["LiveClient", "ThreadedLiveClient"]
