"""How a dependency-injector container speaks of databases: `SQLite` and `SQLiteDict`.

Imports `database` and what stands above it.
"""
