"""Where the data of a twin comes from, fetched by a schedule."""
