"""Channels and what stands behind them: names and who may join, publishing, the feed of a node, recovery."""
