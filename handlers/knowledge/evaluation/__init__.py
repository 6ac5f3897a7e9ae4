"""How well a knowledge base is searched: measures, and questions whose documents are known."""
