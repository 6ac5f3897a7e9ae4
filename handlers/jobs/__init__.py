"""The organisation's jobs: looked at, and ended."""
