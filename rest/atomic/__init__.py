"""JSON:API's Atomic Operations extension (https://jsonapi.org/ext/atomic/): a document of operations, run as an atomic batch."""
