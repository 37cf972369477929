"""What SQLite itself needs, without any policy of this package.

The files of a database and who may open them, statements and what kind they are, closing one
connection at a time, and what a forked child must never finalize. Imports only `errors`.
"""
