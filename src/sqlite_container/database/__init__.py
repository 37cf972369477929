"""One database from open to close, and a loan: a connection for the length of a `with` block.

May import `pool` and the wings below it.
"""
