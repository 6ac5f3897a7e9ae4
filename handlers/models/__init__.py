"""Language models: what writes text, behind one protocol."""
