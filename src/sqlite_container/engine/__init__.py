"""How a database is created, opened, configured and opened again.

Imports `connection` and what stands above it.
"""
