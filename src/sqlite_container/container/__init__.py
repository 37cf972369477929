"""How a dependency-injector container speaks of databases: `SQLite` and `SQLiteDict`.

Also the check of all settings before anything opens, and the shutdown of a whole container. May
import `database` and the wings below it.
"""
