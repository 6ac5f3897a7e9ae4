"""The hub: the process, its HTTP server and the stream."""
