"""The log as clients read it."""
