"""Durable work: enqueued with what it belongs to, done by workers, at least once, each of its writes fenced."""
