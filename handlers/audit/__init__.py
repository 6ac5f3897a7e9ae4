"""The audit as clients read it."""
