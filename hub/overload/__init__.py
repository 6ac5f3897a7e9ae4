"""How much a node has to do, beside what it can: measured, told, and acted upon (core/pressure.py)."""
