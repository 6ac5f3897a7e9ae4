"""Tickets that open one stream."""
