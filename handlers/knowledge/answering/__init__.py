"""Questions to knowledge bases: results with snippets, and answers that quote what they stand on."""
