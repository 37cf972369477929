"""What SQLite itself needs, without any policy of this package.

Running a statement on a raw handle, kinds of statements, pragmas that are read back, what a file
allows, closing one connection at a time, and what a forked child must never finalize. May import
`config`, `log` and the wings below them.
"""
