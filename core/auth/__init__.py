"""Who is calling: keys, tokens, scopes, organisations and their limits."""
