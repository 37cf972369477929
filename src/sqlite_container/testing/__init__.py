"""Temporary databases for tests."""

from .replacing import give_back, isolated, temporary_databases

__all__ = ["give_back", "isolated", "temporary_databases"]
