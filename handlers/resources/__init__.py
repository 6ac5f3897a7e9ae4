"""What agents, knowledge bases and twins have in common: kept as documents with versions, history and events."""
