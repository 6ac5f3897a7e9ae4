"""The stream for networks that break WebSockets: over plain HTTP, as server-sent events and by long polling."""
