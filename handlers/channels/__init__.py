"""Channels: what is published into live rooms, what they keep, and who is there, for those who have no socket."""
