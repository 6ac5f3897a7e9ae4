"""`serve --workers N`: one parent, N nodes on one address. The parent (`parent.py`) is small and knows nothing of a hub."""
