"""The fixture of tests of answers: what retrieval's have."""

from tests.handlers.knowledge.retrieval.conftest import library

__all__ = ["library"]
