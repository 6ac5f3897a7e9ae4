"""Many operations in one request: each by the route that it has on its own, one after the other, or all in one transaction."""
