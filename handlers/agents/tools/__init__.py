"""Tools that agents use: what the hub does for them, what callers run, what others offer."""
