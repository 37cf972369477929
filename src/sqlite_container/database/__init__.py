"""One database from open to close.

Imports `pool` and what stands above it.
"""
