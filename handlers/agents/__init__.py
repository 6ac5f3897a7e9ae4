"""Agents: what answers questions and does tasks."""
