"""Simulation of twins: models, scenarios, engines, and what the runs come to. No I/O but in pool.py and worker.py."""
