"""The fixture of tools that read knowledge: what retrieval's tests have."""

from tests.handlers.knowledge.retrieval.conftest import library

__all__ = ["library"]
