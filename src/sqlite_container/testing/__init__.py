"""Temporary databases for tests: the same schema and settings, on files of their own.

May import `process` and the wings below it.
"""

from .replacing import give_back, isolated, temporary_databases

__all__ = ["give_back", "isolated", "temporary_databases"]
