"""Open streams of an organisation."""
