"""Copies of a twin, to try a change on before it is made."""
