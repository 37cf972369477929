"""A connection that has one owner at a time: who may use it, its blocks, cursors and errors.

`Connection` is in `connection`; what its `with` blocks begin and end is in `blocks`; who is inside
SQLite at a moment, in `inside`. May import `writing` and the wings below it.
"""
