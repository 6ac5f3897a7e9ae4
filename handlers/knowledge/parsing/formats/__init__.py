"""The readers, one a format: bytes or text in, blocks out."""
