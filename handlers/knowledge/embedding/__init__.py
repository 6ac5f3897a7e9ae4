"""Vectors: texts and questions become points, so that what means the same is found though it shares no word."""
