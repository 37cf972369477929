"""How a database file is created, opened and set up, and how it gets its schema.

May import `connection` and the wings below it.
"""
