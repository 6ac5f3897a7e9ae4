"""Durable subscriptions: made, pulled from and answered, with their dead letters and replays."""
