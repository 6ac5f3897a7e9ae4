"""The log: events are collected in an outbox, given a dense position by the relay, and read by position."""
