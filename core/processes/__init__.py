"""Processes of their own for work that is not to be trusted, or would hold the event loop: confined, and dead with the hub."""
