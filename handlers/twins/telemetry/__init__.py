"""Measurements of twins: taken, kept, summed up, and watched."""
