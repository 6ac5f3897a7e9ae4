"""Sessions: durable conversations with agents."""
