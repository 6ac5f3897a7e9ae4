"""Documents of knowledge bases: kept by name and version, parsed by jobs, found once they are ready."""
