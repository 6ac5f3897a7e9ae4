"""Digital twins: the state of something real, kept live."""
