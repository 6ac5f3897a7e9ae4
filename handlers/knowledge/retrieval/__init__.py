"""What is found for a question: lexical by BM25, by meaning where there are vectors, fused."""
