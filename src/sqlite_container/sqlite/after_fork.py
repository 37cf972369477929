"""What a forked child does with the connections that it inherited: nothing, for ever.

SQLite forbids to carry a connection across a fork, even to close it there:
https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_
"""

from __future__ import annotations


def keep_for_ever(thing: object) -> None:
    """Keep an object alive to the very end, and past it: nothing may finalize it."""
    import ctypes  # needed in forked children only

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
