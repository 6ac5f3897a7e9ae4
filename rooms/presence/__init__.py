"""Who is in a channel now: members by subject, joins and leaves as diffs, over all nodes (docs/presence.md)."""
