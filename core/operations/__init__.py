"""Operations: declared once, run in one way, reached through every door."""
