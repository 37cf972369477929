"""What a forked child does with what it inherited."""

from __future__ import annotations


def keep_for_ever(thing: object) -> None:
    """Keep an object alive to the very end, and past it: nothing may finalize it."""
    import ctypes  # needed in forked children only

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
