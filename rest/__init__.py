"""The REST door: paths, versions and HTTP's manners; what is done and who may do it is decided by the operations."""
