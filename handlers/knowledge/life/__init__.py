"""How knowledge bases live: what they are asked, how they are doing, how they move."""
