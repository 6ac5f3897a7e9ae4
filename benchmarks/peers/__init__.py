"""Programs of others, and the floor, that do the same work as the hub: `python -m benchmarks.peers` installs them."""
