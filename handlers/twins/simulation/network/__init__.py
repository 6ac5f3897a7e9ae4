"""Discrete events: goods that are ordered and sent, and what waits and is served, on SimPy's clock and events."""
