"""The REST door as OpenAPI documents, made from the routes, the operations and the catalogue of errors."""
