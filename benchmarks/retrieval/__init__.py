"""`make eval`: how well the hub finds, beside BM25 and PostgreSQL's own ranking."""
