"""Namespaces of live channels: what goes for each, as the operator and the organisation have set it."""
